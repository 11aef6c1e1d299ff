/** The peers of a room. Applies the server's updates and returns the changes; does no I/O. */

import { lossyText } from "../wire/codec.js";
import { MAX_ROOM_PEERS } from "../wire/limits.js";
import {
  AWAY,
  MODERATOR,
  MUTED,
  type Peer as WirePeer,
  type RosterUpdate,
  SELF_MUTED,
} from "../wire/messages.js";
import { ProtocolError } from "../session/error.js";

/**
 * Peers of a roster: nearly as many as there are slots, so that a later version may have larger
 * rooms. Updates without end must not fill the memory.
 */
const MAX_ROSTER = 16 * MAX_ROOM_PEERS;

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

/** All peers of a room, including this client. */
export class Roster {
  /** The version. Each update increases it by one; the first value is the server's choice. */
  version: number;
  _peers = new Map<PeerId, Peer>();
  /** All peers in the order of their ids, if nothing has changed since. */
  _sorted: Peer[] | undefined;

  /**
   * Creates the roster that a `Joined` message contains.
   *
   * Throws a {@link ProtocolError} if it has too many peers.
   */
  constructor(version: number, peers: readonly WirePeer[]) {
    checkSize(peers.length);
    this.version = version;
    for (const peer of peers) {
      this._peers.set(peer.peer, peerOf(peer));
    }
  }

  /**
   * Applies the next update and returns the changes.
   *
   * A peer that joined and left within the same update is not reported, nor is an unknown peer that
   * left.
   *
   * Throws a {@link ProtocolError} if the update's version is not the next one, or if the roster
   * would have too many peers. The roster is then unchanged.
   */
  apply(update: RosterUpdate): RosterChange[] {
    const expected = (this.version + 1) >>> 0;
    if (update.version !== expected) {
      throw new ProtocolError(`received roster version ${update.version}, expected ${expected}`);
    }
    checkSize(this._peers.size + update.joined.length);
    this.version = expected;
    this._sorted = undefined;
    const gone = new Set(update.left.map((left) => left.peer));
    const changes: RosterChange[] = [];
    for (const { peer: id, code } of update.left) {
      const peer = this._peers.get(id);
      if (this._peers.delete(id) && peer) {
        changes.push({ kind: "left", peer, code });
      }
    }
    for (const wire of update.joined.filter(({ peer }) => !gone.has(peer))) {
      // The roster in `Joined` may already contain peers that a later update announces: this client
      // itself, and peers that joined at the same moment. The later entry counts.
      changes.push(...this._replace(peerOf(wire)));
    }
    for (const { peer: id, presence } of update.changed) {
      const before = this._peers.get(id);
      if (before) {
        changes.push(...this._replace({ ...before, ...presenceOf(presence) }));
      }
    }
    return changes;
  }

  _replace(peer: Peer): RosterChange[] {
    const before = this._peers.get(peer.id);
    this._peers.set(peer.id, peer);
    return before ? changesBetween(before, peer) : [{ kind: "joined", peer }];
  }

  /**
   * Replaces this roster by the one of another `Joined` message and returns the changes. In another
   * instance of the room, a peer id means another peer.
   */
  replace(isSameRoom: boolean, newer: Roster): RosterChange[] {
    const changes: RosterChange[] = [];
    for (const peer of this._peers.values()) {
      if (!isSameRoom || !newer._peers.has(peer.id)) {
        changes.push({ kind: "left", peer, code: undefined });
      }
    }
    for (const peer of newer._peers.values()) {
      const before = isSameRoom ? this._peers.get(peer.id) : undefined;
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
    return this._peers.get(id);
  }

  /** Returns all peers in the order in which they joined. */
  all(): readonly Peer[] {
    return (this._sorted ??= [...this._peers.values()].sort((a, b) => a.id - b.id));
  }
}

function checkSize(peers: number): void {
  if (peers > MAX_ROSTER) {
    throw new ProtocolError(
      `received a roster of ${peers} peers, at most ${MAX_ROSTER} are possible`,
    );
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
