/**
 * Assembles messages of the bulk lane from their pieces. Reads no clock and does no I/O.
 *
 * The pieces of one sender arrive in order; the pieces of several senders interleave. A message
 * whose first piece is missing is dropped: that piece was sent before this client joined, or was
 * lost with a session.
 */

import { EMPTY } from "../wire/codec.js";
import { MAX_BULK_MESSAGE } from "../wire/limits.js";
import { type EventDown, PIECE_CONTINUES, PIECE_MORE } from "../wire/messages.js";
import { concat } from "../session/outgoing.js";
import type { PeerId } from "./roster.js";

/**
 * Senders with an incomplete message, together at most 4 MiB. Beyond the limit, the message that
 * started first is dropped: its sender has most likely left in the middle of it.
 */
const MAX_INCOMPLETE = 64;

interface IncompleteMessage {
  /** Position of this message in the order of all started messages. */
  number: number;
  /** Sequence of the first piece. */
  first: bigint;
  payload: Uint8Array;
}

/** A complete message of the bulk lane. */
export interface BulkMessage {
  from: PeerId;
  channel: number;
  payload: Uint8Array;
}

/** The incomplete messages of all senders. */
export class BulkAssembly {
  /** How many messages could not be assembled. */
  dropped = 0;
  _incomplete = new Map<PeerId, IncompleteMessage>();
  _started = 0;

  /** Adds a piece. Returns the message if the piece completes it. */
  take({ peer, channel, piece, payload, sequence }: EventDown): BulkMessage | undefined {
    const isLast = (piece & PIECE_MORE) === 0;
    let message = this._incomplete.get(peer);
    this._incomplete.delete(peer);
    if ((piece & PIECE_CONTINUES) === 0) {
      // The sender started a new message without finishing the one before. Our senders never do
      // that.
      this.dropped += message ? 1 : 0;
      message = { number: this._started++, first: sequence, payload: EMPTY };
    }
    if (!message || message.payload.length + payload.length > MAX_BULK_MESSAGE) {
      // The following pieces are dropped too. The last piece counts the dropped message.
      this.dropped += isLast ? 1 : 0;
      return undefined;
    }
    message.payload = concat(message.payload, payload);
    if (isLast) {
      return { from: peer, channel, payload: message.payload };
    }
    this._insert(peer, message);
    return undefined;
  }

  _insert(from: PeerId, message: IncompleteMessage): void {
    if (this._incomplete.size >= MAX_INCOMPLETE) {
      const [oldest] = [...this._incomplete].reduce((a, b) => (b[1].number < a[1].number ? b : a));
      this._incomplete.delete(oldest);
    }
    this._incomplete.set(from, message);
  }

  /**
   * Returns whether a message is incomplete whose first piece has this sequence or a smaller one.
   */
  hasBegunBy(sequence: bigint): boolean {
    return [...this._incomplete.values()].some((message) => message.first <= sequence);
  }

  /** Forgets all incomplete messages: pieces were lost, or peer ids now mean other peers. */
  clear(): void {
    this._incomplete.clear();
  }
}
