/**
 * The engine process: loads the addon, serves the data paths, speaks with the replicator by messages.
 */
export { Cleaner, type CleanerOptions } from './cleaner.js'
export { Engine, type EngineOptions } from './engine.js'
export { main } from './main.js'
