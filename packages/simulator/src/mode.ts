/** When a volume's updates count (docs/wire-protocol.md, Commit at the primary). */
export type Mode = 'durable' | 'quorum' | 'local'
