/** What connections to the HTTP port can be upgraded to. */

/** The store's updates: docs/wire-protocol.md. */
export const UPGRADE_RECORDS = 'cloudfs-records'

/** NBD, with one volume as the default export. */
export const UPGRADE_NBD = 'cloudfs-nbd'

/** A history that is given by hand. */
export const UPGRADE_APPLY = 'cloudfs-apply'
