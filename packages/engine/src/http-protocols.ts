/** What connections to the HTTP port can be upgraded to. */

/** The store's updates: docs/wire-protocol.md. */
export const UPGRADE_RECORDS = 'cloudfs-records'

/** The requests of an attached volume's endpoint, sent again to each next primary: docs/nbd.md, Sessions. */
export const UPGRADE_SESSION = 'cloudfs-session'
/** Names the session in a request for that upgrade. */
export const SESSION_HEADER = 'cloudfs-session'

/** A history that is given by hand. */
export const UPGRADE_APPLY = 'cloudfs-apply'
