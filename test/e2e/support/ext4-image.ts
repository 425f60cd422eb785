/** Images of ext4 file systems with real files, made without mounting anything. */
import { truncateSync, writeFileSync } from 'node:fs'
import { runTool } from './run-tool.js'

/** Makes an image of a file system that holds all files below `source`, and is fit to be mounted. */
export async function makeExt4(path: string, sizeBytes: number, source: string): Promise<void> {
  writeFileSync(path, '')
  truncateSync(path, sizeBytes)
  await runTool('mke2fs', '-q', '-F', '-t', 'ext4', '-d', source, path)
  await checkExt4(path)
}

/** @throws if e2fsck finds anything */
export async function checkExt4(path: string): Promise<void> {
  await runTool('e2fsck', '-f', '-n', path)
}
