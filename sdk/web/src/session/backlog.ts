/**
 * The events that an outbox keeps, and which of them are written, written again or forgotten. Does
 * no I/O.
 */

import { RPC_CHANNEL } from "../wire/application.js";
import { PIECE_CONTINUES, PIECE_MORE } from "../wire/messages.js";
import type { Lane } from "../wire/messaging.js";
import { ProtocolError } from "./error.js";
import { LANES } from "./outgoing.js";
import type { To } from "./to.js";

/** Bytes of each lane that may wait to be written. Beyond the limit, a sender waits. */
const MAX_WAITING = 64 << 10;
/**
 * Bytes of each lane that may be written and not acknowledged. Beyond the limit, events wait to
 * be written. The limit is more than the sum of a stream's bytes in flight (64 KiB) and the bytes
 * that the server may leave unacknowledged. So it applies only if no acknowledgements come;
 * otherwise the network and the server's rates slow a sender first.
 */
const MAX_UNACKNOWLEDGED = 512 << 10;
/** Bytes counted for an event in addition to its payload. */
const OVERHEAD = 64;

/** An event, or a piece of a larger message, that waits or is not acknowledged. */
export interface QueuedEvent {
  /** The recipients. */
  to: To;
  /** The application's channel, or one of the protocol's on the events lane. */
  channel: number;
  /** Flags of a piece on the bulk lane. */
  piece: number;
  /** The application's data. */
  payload: Uint8Array;
}

function costOf({ to, payload }: QueuedEvent): number {
  const listed = typeof to === "object" && "peers" in to ? 4 * to.peers.length : 0;
  return payload.length + listed + OVERHEAD;
}

function sumOf(events: readonly QueuedEvent[]): number {
  return events.reduce((sum, event) => sum + costOf(event), 0);
}

/** The kept events of a participant, over all of its sessions. */
export class EventBacklog {
  _lanes = [new LaneBacklog(), new LaneBacklog()] as const;
  /** Whether there has been a session. */
  _isAttached = false;

  /**
   * Continues with a new session, behind the events that the server has `taken`. Starts again if
   * the client is a new peer, or if this is the first session.
   *
   * Throws a {@link ProtocolError} if the counts are impossible. Nothing is changed then.
   */
  attach(taken: readonly [number, number], isNewPeer: boolean, isSameRoom: boolean): void {
    const startsAgain = isNewPeer || !this._isAttached;
    if (!startsAgain) {
      this._check(taken);
    }
    for (const lane of LANES) {
      this._lanes[lane].attach(taken[lane], startsAgain, isSameRoom);
    }
    this._isAttached = true;
  }

  /**
   * Forgets the events that the server acknowledges. Returns whether there were any.
   *
   * Throws a {@link ProtocolError} if the counts are impossible. Nothing is forgotten then.
   */
  acknowledge(taken: readonly [number, number]): boolean {
    this._check(taken);
    return LANES.map((lane) => this._lanes[lane].forget(taken[lane])).some((count) => count > 0);
  }

  /**
   * Checks that no lane's count goes backwards or is ahead of what was sent. Such a server would
   * make the client lose events without a word, or send events twice.
   */
  _check(taken: readonly [number, number]): void {
    for (const lane of LANES) {
      const { _first, sent } = this._lanes[lane];
      // A count behind the first is far ahead of it, because counts wrap.
      if ((taken[lane] - _first) >>> 0 > sent) {
        const most = (_first + sent) >>> 0;
        throw new ProtocolError(
          `the server took ${taken[lane]} events; possible are ${_first} to ${most}`,
        );
      }
    }
  }

  /** Returns whether the lane takes further events. */
  hasCapacity(lane: Lane): boolean {
    return this._lanes[lane]._waitingBytes < MAX_WAITING;
  }

  /** Queues the events of one message. {@link hasCapacity} says whether the lane takes one. */
  queue(lane: Lane, events: readonly QueuedEvent[]): void {
    const backlog = this._lanes[lane];
    backlog._waitingBytes += sumOf(events);
    backlog._events.push(...events);
  }

  /**
   * Returns the next event to write on a lane. From now on the server may have it.
   * {@link markWritten} must follow before the next call.
   */
  beginWrite(lane: Lane): QueuedEvent | undefined {
    return this._lanes[lane].beginWrite();
  }

  /** Counts the event of {@link beginWrite} as written. */
  markWritten(lane: Lane): void {
    this._lanes[lane].markWritten();
  }

  /** Drops the event of {@link beginWrite}, because the server takes none of this size. */
  dropUnwritten(lane: Lane): void {
    this._lanes[lane].dropUnwritten();
  }

  /** Returns whether events wait to be written. */
  hasWaiting(): boolean {
    return this._lanes.some((lane) => lane._waitingBytes > 0);
  }

  /** Returns how many events are kept. */
  kept(): number {
    return this._lanes[0]._events.length + this._lanes[1]._events.length;
  }

  /** Drops all events. */
  clear(): void {
    this._lanes = [new LaneBacklog(), new LaneBacklog()];
    this._isAttached = false;
  }
}

/** The kept events of one lane: those already written, then those that wait. */
class LaneBacklog {
  _events: QueuedEvent[] = [];
  /**
   * Number of the first event in `_events`. Events are numbered as the server counts the events
   * that it takes from this peer. So this is also the newest count of the server.
   */
  _first = 0;
  /** How many of `_events` have been written to the current session. */
  _written = 0;
  /** Whether the event behind those is being written. */
  _isWriting = false;
  _waitingBytes = 0;
  _writtenBytes = 0;

  /** How many events the server may have taken since `_first`. */
  get sent(): number {
    return this._written + (this._isWriting ? 1 : 0);
  }

  /** Continues behind the events that the server has `taken`, or starts again as a new peer. */
  attach(taken: number, isNewPeer: boolean, isSameRoom: boolean): void {
    if (isNewPeer) {
      // Events that the earlier peer wrote are lost, and so are the remaining pieces of a message
      // that it had started. The server may have had the one that was being written, too: sent
      // again, it would arrive twice.
      let lost = this.sent;
      while (((this._events[lost]?.piece ?? 0) & PIECE_CONTINUES) !== 0) {
        lost += 1;
      }
      // A new peer gets no answers to its requests, and owes none.
      this._events = this._events.slice(lost).filter((event) => event.channel !== RPC_CHANNEL);
      this._first = taken;
    } else {
      this.forget(taken);
    }
    if (!isSameRoom) {
      // In another instance of the room, the numbers mean other peers.
      this._events = this._events.filter(({ to }) => !(typeof to === "object" && "peers" in to));
    }
    this._written = this._writtenBytes = 0;
    this._isWriting = false;
    this._waitingBytes = sumOf(this._events);
  }

  /**
   * Forgets the events up to the server's count, which the caller has checked. Returns how many.
   */
  forget(taken: number): number {
    const count = Math.min((taken - this._first) >>> 0, this.sent);
    for (const event of this._events.splice(0, count)) {
      if (this._written > 0) {
        this._written -= 1;
        this._writtenBytes -= costOf(event);
      } else {
        this._isWriting = false;
        this._waitingBytes -= costOf(event);
      }
    }
    this._first = taken;
    return count;
  }

  beginWrite(): QueuedEvent | undefined {
    const event = this._events[this._written];
    if (this._writtenBytes >= MAX_UNACKNOWLEDGED || !event) {
      return undefined;
    }
    this._isWriting = true;
    return event;
  }

  dropUnwritten(): void {
    if (this._isWriting) {
      this._isWriting = false;
      this._waitingBytes -= sumOf(this._events.splice(this._written, 1));
    }
  }

  markWritten(): void {
    const event = this._events[this._written];
    // The server may have been faster and acknowledged the event.
    if (!this._isWriting || !event) {
      return;
    }
    this._isWriting = false;
    const cost = costOf(event);
    this._waitingBytes -= cost;
    this._writtenBytes += cost;
    this._written += 1;
  }
}

/**
 * Cuts a message into at least one piece of at most `size` bytes. Returns each piece with its
 * flags.
 */
export function pieces(payload: Uint8Array, size: number): { piece: number; bytes: Uint8Array }[] {
  const step = Math.max(size, 1);
  const count = Math.max(Math.ceil(payload.length / step), 1);
  return Array.from({ length: count }, (_, n) => ({
    piece: (n > 0 ? PIECE_CONTINUES : 0) | (n + 1 < count ? PIECE_MORE : 0),
    bytes: payload.subarray(n * step, (n + 1) * step),
  }));
}
