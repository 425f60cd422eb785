/**
 * The HTTP interface: server and client.
 */
export {}
