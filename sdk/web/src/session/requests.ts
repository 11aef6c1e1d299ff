/** Requests that wait for the server's reply, and results that wait for their callers. */

/**
 * The requests of a client over all of its sessions. Each gets exactly one result: the server's
 * reply, or the error that no reply will come.
 */
export class Requests<P, R> {
  _next: number;
  _pending = new Map<number, P>();
  /** Results that their callers have not taken. */
  _results = new Map<number, R>();
  _most: number;

  /**
   * Creates an empty table of at most `most` requests and results. The first request has the number
   * `first`.
   */
  constructor(most: number, first = 1) {
    this._next = first >>> 0;
    this._most = most;
  }

  /** Returns whether another request may be made. */
  hasCapacity(): boolean {
    return this._pending.size + this._results.size < this._most;
  }

  /** Adds a request and returns its number. */
  start(request: P): number {
    // Numbers wrap. One that is still in use is left out; `hasCapacity` bounds how many are.
    while (this._pending.has(this._next) || this._results.has(this._next)) {
      this._next = (this._next + 1) >>> 0;
    }
    const number = this._next;
    this._next = (number + 1) >>> 0;
    this._pending.set(number, request);
    return number;
  }

  /** Returns a request without a result. */
  get(number: number): P | undefined {
    return this._pending.get(number);
  }

  /** Returns the requests without a result. */
  pending(): IterableIterator<[number, P]> {
    return this._pending.entries();
  }

  /** Removes a request without a result. */
  remove(number: number): P | undefined {
    const request = this._pending.get(number);
    this._pending.delete(number);
    return request;
  }

  /** Removes the requests that `isDone` selects, each with its number. */
  finishIf(isDone: (request: P) => boolean): [number, P][] {
    const done = [...this._pending].filter(([, request]) => isDone(request));
    done.forEach(([number]) => this._pending.delete(number));
    return done;
  }

  /** Keeps a result for its caller. */
  keep(number: number, result: R): void {
    this._results.set(number, result);
  }

  /** Takes the result of a request, if there is one. */
  take(number: number): R | undefined {
    const result = this._results.get(number);
    this._results.delete(number);
    return result;
  }

  /** Drops the result of a request, because nobody waits for it. */
  forgetResult(number: number): void {
    this._results.delete(number);
  }
}
