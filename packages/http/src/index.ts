/**
 * The HTTP interface: server and client.
 */
export * from './api.js'
export * from './client.js'
export { openApiDocument } from './openapi.js'
