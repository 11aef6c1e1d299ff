/** The peers of a room. Applies the server's updates and returns the changes; does no I/O. */

import { lossyText } from "../wire/codec.js";
import {
  AWAY,
  MODERATOR,
  MUTED,
  type Peer as WirePeer,
  type RosterUpdate,
  SELF_MUTED,
} from "../wire/messages.js";
import { ProtocolError } from "../session/error.js";
import { heldBytes, MAX_PEER_TEXT, ROSTER, SizedMap } from "../session/held.js";

/** A peer's number, unique in a room instance. */
export type PeerId = number;

/** A peer of the room. */
export interface Peer {
  /** The peer's id. */
  readonly id: PeerId;
  /**
   * The peer's number on the realtime plane. The server may give it to another peer 60 s after the
   * peer left.
   */
  readonly slot: number;
  /**
   * Whether the server received nothing from the peer for 10 s: the headset is off or out of reach,
   * and may become present again.
   */
  readonly away: boolean;
  /** Whether a moderator has muted the peer. The server then drops the peer's voice. */
  readonly muted: boolean;
  /** Whether the peer has muted itself. */
  readonly selfMuted: boolean;
  /** Whether the peer may moderate. */
  readonly moderator: boolean;
  /** User id from the peer's token, at most 128 bytes. */
  readonly user: string;
  /** Display name, at most 128 bytes. */
  readonly name: string;
  /** Role from the peer's token, at most 128 bytes. */
  readonly role: string;
}

/** A change of the roster, in the order in which one update reports them. */
export type RosterChange =
  /** A peer left, and the name of the code that says why; `undefined` for an unknown reason. */
  | { kind: "left"; peer: Peer; code: number | undefined }
  /** A peer joined. */
  | { kind: "joined"; peer: Peer }
  /** A peer became away or present. */
  | { kind: "presence"; peer: Peer }
  /** A peer's mute, self-mute or right to moderate changed. */
  | { kind: "changed"; peer: Peer };

function presenceOf(presence: number) {
  return {
    away: (presence & AWAY) !== 0,
    muted: (presence & MUTED) !== 0,
    selfMuted: (presence & SELF_MUTED) !== 0,
    moderator: (presence & MODERATOR) !== 0,
  };
}

function peerOf({ peer, slot, presence, user, name, role }: WirePeer): Peer {
  return {
    id: peer,
    slot,
    ...presenceOf(presence),
    user: lossyText(user),
    name: lossyText(name),
    role: lossyText(role),
  };
}

/**
 * All peers of a room, including this client: at most 64,000, whose user ids, names and roles have
 * 24.6 MB together and 6 KiB each.
 */
export class Roster {
  /** The version. Each update increases it by one; the first value is the server's choice. */
  version: number;
  _peers = new SizedMap<PeerId, Peer>();
  /** All peers in the order of their ids, if nothing has changed since. */
  _sorted: Peer[] | undefined;

  /**
   * Creates the roster that a `Joined` message contains.
   *
   * Throws a {@link ProtocolError} if it has too many peers or too long names.
   */
  constructor(version: number, peers: readonly WirePeer[]) {
    this.version = version;
    this._read(peers).forEach((peer) => this._peers.set(peer.id, peer));
  }

  /** Reads peers. Throws unless the roster stays within its limits with these in addition. */
  _read(wire: readonly WirePeer[]): Peer[] {
    const peers = wire.map(peerOf);
    this._peers.check(ROSTER, peers, "peers");
    if (peers.some((peer) => heldBytes(peer) > MAX_PEER_TEXT)) {
      throw new ProtocolError("a peer of the roster has too long names");
    }
    return peers;
  }

  /**
   * Applies the next update and returns the changes.
   *
   * A peer that joined and left within the same update is not reported, nor is an unknown peer that
   * left. Of several changes of one peer in an update, the last counts.
   *
   * Throws a {@link ProtocolError} if the update's version is not the next one, or if the roster
   * would have too many peers or too long names. The roster is then unchanged.
   */
  apply(update: RosterUpdate): RosterChange[] {
    const expected = (this.version + 1) >>> 0;
    if (update.version !== expected) {
      throw new ProtocolError(`received roster version ${update.version}, expected ${expected}`);
    }
    const joined = this._read(update.joined);
    this.version = expected;
    this._sorted = undefined;
    const gone = new Set(update.left.map((left) => left.peer));
    const changes: RosterChange[] = [];
    for (const { peer: id, code } of update.left) {
      const peer = this._peers.delete(id);
      if (peer) {
        changes.push({ kind: "left", peer, code });
      }
    }
    for (const peer of joined.filter(({ id }) => !gone.has(id))) {
      // The roster in `Joined` may already contain peers that a later update announces: this client
      // itself, and peers that joined at the same moment. The later entry counts.
      changes.push(...this._replace(peer));
    }
    const newest = new Map(update.changed.map(({ peer, presence }) => [peer, presence]));
    for (const [id, presence] of newest) {
      const before = this.peer(id);
      if (before) {
        changes.push(...this._replace({ ...before, ...presenceOf(presence) }));
      }
    }
    return changes;
  }

  _replace(peer: Peer): RosterChange[] {
    const before = this.peer(peer.id);
    this._peers.set(peer.id, peer);
    return before ? changesBetween(before, peer) : [{ kind: "joined", peer }];
  }

  /**
   * Replaces this roster by the one of another `Joined` message and returns the changes. In another
   * instance of the room, a peer id means another peer.
   */
  replace(isSameRoom: boolean, newer: Roster): RosterChange[] {
    const changes: RosterChange[] = [];
    for (const peer of this._peers.entries.values()) {
      if (!isSameRoom || !newer.peer(peer.id)) {
        changes.push({ kind: "left", peer, code: undefined });
      }
    }
    for (const peer of newer._peers.entries.values()) {
      const before = isSameRoom ? this.peer(peer.id) : undefined;
      changes.push(
        ...(before ? changesBetween(before, peer) : [{ kind: "joined", peer } as const]),
      );
    }
    this.version = newer.version;
    this._sorted = undefined;
    this._peers = newer._peers;
    return changes;
  }

  /** Returns the peer with this id. */
  peer(id: PeerId): Peer | undefined {
    return this._peers.entries.get(id);
  }

  /** Returns all peers in the order in which they joined. */
  all(): readonly Peer[] {
    return (this._sorted ??= [...this._peers.entries.values()].sort((a, b) => a.id - b.id));
  }
}

/** Returns the changes between two versions of the same peer. */
function changesBetween(before: Peer, peer: Peer): RosterChange[] {
  const changes: RosterChange[] = [];
  if (before.away !== peer.away) {
    changes.push({ kind: "presence", peer });
  }
  const flags = ["muted", "selfMuted", "moderator"] as const;
  if (flags.some((flag) => before[flag] !== peer[flag])) {
    changes.push({ kind: "changed", peer });
  }
  return changes;
}
