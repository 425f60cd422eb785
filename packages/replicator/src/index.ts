/**
 * The replicator node: composition root of the policy half.
 */
export {
  type Config,
  CONFIG_KEYS,
  type ConfigKey,
  type ConfigSources,
  flagOf,
  HTTP_PORT_DEFAULT,
  loadConfig,
  variableOf,
} from './config.js'
export * from './engine-client.js'
export * from './errors.js'
export { logOf } from './log.js'
export { runNode } from './main.js'
export { nearest } from './nearest.js'
export { ReplicatorNode } from './node.js'
