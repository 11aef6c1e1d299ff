// The sequence numbers that were received from one peer: finds duplicates, and messages that are
// older than one that replaced them.

import { RecentMap } from "./recent.js";

/**
 * Smallest number of keys of one sender whose newest sequence is kept. A user moves fewer objects
 * than this within {@link KEY_MEMORY}.
 */
export const KEYS_PER_SENDER = 256;
/**
 * How long the newest sequence of a key is compared with later messages, in ms. The server relays
 * no message that is as old as this, so none can still arrive late. The limit is for a sender whose
 * messages were not relayed for minutes: its sequence may have wrapped meanwhile, and without the
 * limit its next messages would be dropped as old.
 */
const KEY_MEMORY = 5_000;
/** Sequence numbers up to the newest of which is known whether they were received. */
const WINDOW = 64;

interface NewestSequence {
  sequence: number;
  /** When it was received, in ms. */
  at: number;
  /**
   * One bit for each of the 64 sequence numbers up to `sequence`, set if the number was received.
   * The lowest bit of `low` stands for `sequence`.
   */
  low: number;
  high: number;
}

/** The newest sequence numbers that were received from one peer, by key. */
export class SenderHistory {
  readonly peer: number;
  readonly #newest = new RecentMap<number, NewestSequence>(KEYS_PER_SENDER);

  constructor(peer: number) {
    this.peer = peer;
  }

  /**
   * Returns whether a message of this stream, see `streamOf`, is to be delivered: it is no
   * duplicate, and, with `newestWins`, not older than the newest message of its key.
   */
  isFresh(now: number, newestWins: boolean, stream: number, sequence: number): boolean {
    const newest = this.#newest.getOr(stream, () => ({ sequence, at: -Infinity, low: 0, high: 0 }));
    // Serial number arithmetic, RFC 1982: half of the numbers are ahead, half are behind.
    const ahead = ((sequence - newest.sequence) << 16) >> 16;
    const isForgotten = now - newest.at >= KEY_MEMORY;
    if (isForgotten || ahead > 0) {
      shift(newest, isForgotten ? WINDOW : ahead);
      newest.low |= 1;
      newest.sequence = sequence;
      newest.at = now;
      return true;
    }
    // Messages far behind are too late to be useful and count as duplicates.
    if (-ahead >= WINDOW) {
      return false;
    }
    const bit = 1 << (-ahead & 31);
    const word = -ahead < 32 ? "low" : "high";
    const isRepeated = (newest[word] & bit) !== 0;
    newest[word] |= bit;
    return !newestWins && !isRepeated;
  }
}

/** Moves the bits to newer numbers. */
function shift(newest: NewestSequence, by: number): void {
  const { low, high } = newest;
  if (by < 32) {
    newest.high = (high << by) | (low >>> (32 - by));
    newest.low = low << by;
  } else {
    newest.high = by < WINDOW ? low << (by - 32) : 0;
    newest.low = 0;
  }
}
