/**
 * The `cloudfs` command.
 */
export { buildProgram, main } from './program.js'
export { type Example, examplesOf } from './examples.js'
