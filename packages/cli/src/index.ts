/**
 * The `cloudfs` command.
 */
export { buildProgram, main } from './program.js'
