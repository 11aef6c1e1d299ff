// How late the messages of one sender usually are.

/** Of the remembered messages, this many may be later than {@link Lateness.usual}. */
const LATER = 2;
/** After this many messages {@link Lateness.usual} is computed anew. */
const EVERY = 16;
/** A message that is later counts as this late, in ms. Nobody wants to see the others any later. */
const LATEST = 1_000;
/** Most messages that a {@link Lateness} remembers. */
const MOST_REMEMBERED = 512;

/** Space for sorting, shared because nothing here waits. */
const sorted = new Uint16Array(MOST_REMEMBERED);

/** How late the newest messages of one sender were. */
export class Lateness {
  /** In ms, in a ring. */
  readonly #newest: Uint16Array;
  #count = 0;
  #usual = 0;

  /** Creates one that remembers so many messages, at most 512. */
  constructor(remembered: number) {
    this.#newest = new Uint16Array(Math.min(remembered, MOST_REMEMBERED));
  }

  /** Adds a message that was late by this time in µs. A negative time counts as 0. */
  add(late: number): void {
    const remembered = this.#newest.length;
    const ms = Math.min(Math.max(Math.floor(late / 1_000), 0), LATEST);
    this.#newest[this.#count % remembered] = ms;
    this.#count += 1;
    if (this.#count < EVERY) {
      // In the beginning each one counts.
      this.#usual = Math.max(this.#usual, ms);
    } else if (this.#count % EVERY === 0) {
      const count = Math.min(this.#count, remembered);
      const known = sorted.subarray(0, count);
      known.set(this.#newest.subarray(0, count));
      known.sort();
      const later = Math.floor((LATER * count) / remembered);
      this.#usual = known[count - 1 - later] ?? 0;
    }
  }

  /** Whether anything is known. */
  get isKnown(): boolean {
    return this.#count > 0;
  }

  /** The time in µs that nearly all messages are late at most. */
  get usual(): number {
    return this.#usual * 1_000;
  }
}
