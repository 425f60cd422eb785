/** Where the engine's program lies: nobody imports it, it is started. */
import { fileURLToPath } from 'node:url'

/** Beside this package, in the repository and where npm installs both. */
export const engineProgram = fileURLToPath(new URL('../../engine/bin/cloudfs-engine.js', import.meta.url))
