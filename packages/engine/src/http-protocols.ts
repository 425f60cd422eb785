/** What connections to the HTTP port can be upgraded to. */

/** The store's updates: docs/wire-protocol.md. */
export const UPGRADE_RECORDS = 'cloudfs-records'
