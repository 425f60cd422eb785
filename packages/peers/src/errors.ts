/** Errors between hosts; docs/errors.md has a row for each. */
import { CloudfsError, type ErrorDetails } from '@cloudfs/interface'

/** Nothing could be reached at a host's addresses, or the connection broke. */
export class PeerUnreachableError extends CloudfsError {
  readonly code = 'ERR_PEER_UNREACHABLE'
}

/** A host did not answer in time. What was asked may have been done all the same. */
export class PeerTimeoutError extends CloudfsError {
  readonly code = 'ERR_PEER_TIMEOUT'
}

/** Something listens at the address, and it does not speak as a CloudFS node does. */
export class PeerHandshakeError extends CloudfsError {
  readonly code = 'ERR_PEER_HANDSHAKE'
}

/** The private-network keys of the two hosts differ, or only one has any. */
export class PrivateNetworkError extends CloudfsError {
  readonly code = 'ERR_PRIVATE_NETWORK_KEY'
}

/** A host id, or an address that names a key, turned up with another key than the one it is bound to. */
export class HostKeyMismatchError extends CloudfsError {
  readonly code = 'ERR_HOST_KEY_MISMATCH'
}

/** A peer broke the rules of docs/wire-protocol.md, "Between replicators". */
export class PeerProtocolError extends CloudfsError {
  readonly code = 'ERR_PEER_PROTOCOL'
}

/** A host has as many requests as it takes at a time, or this host has as many waiting for it as it keeps. */
export class PeerBusyError extends CloudfsError {
  readonly code = 'ERR_PEER_BUSY'
}

/** A host does not know this kind of request: another version of CloudFS runs there. */
export class UnknownRequestError extends CloudfsError {
  readonly code = 'ERR_UNKNOWN_REQUEST'
}

/** No host of this id is known. */
export class UnknownHostError extends CloudfsError {
  readonly code = 'ERR_UNKNOWN_HOST'
}

/** A message is longer than a frame may be. Nothing was sent. */
export class MessageTooLongError extends CloudfsError {
  readonly code = 'ERR_PEER_MESSAGE_TOO_LONG'
}

/** As many hosts are known as a node keeps, and all of them answer. */
export class MembersFullError extends CloudfsError {
  readonly code = 'ERR_MEMBERS_FULL'
}

/** The node is closing or closed. */
export class PeersClosedError extends CloudfsError {
  readonly code = 'ERR_PEERS_CLOSED'
}

/** The node cannot listen at an address: in use, not this host's, or not an address. */
export class PeerListenError extends CloudfsError {
  readonly code = 'ERR_PEER_LISTEN'
}

/** The file `host.key` cannot be used. */
export class HostKeyFileError extends CloudfsError {
  readonly code = 'ERR_HOST_KEY_FILE'
}

/** Something is wrong inside the host that was asked; its log has the cause. */
export class PeerInternalError extends CloudfsError {
  readonly code = 'ERR_PEER_INTERNAL'
}

/** An error that the host asked answered with, under its own code; `details.host` says which host. */
export class RemoteError extends CloudfsError {
  readonly code: string

  constructor(code: string, message: string, details: ErrorDetails) {
    super(message, details)
    this.code = code
  }
}
