/**
 * Benchmarks of the store itself and against its peers.
 */
process.stderr.write('bench: no benchmark is built yet\n')
process.exitCode = 1
