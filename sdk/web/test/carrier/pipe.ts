// A queue of items between a writer and a reader, for carriers of tests.

/** Items that one side pushes and the other reads, up to an end or an error. */
export class Pipe<T = Uint8Array> {
  readonly #items: T[] = [];
  #end: { error: Error | undefined } | undefined;
  #wake: (() => void) | undefined;

  /** Number of items, or bytes, that were not read. */
  get unread(): number {
    const sizeOf = (item: T) => (item instanceof Uint8Array ? item.length : 1);
    return this.#items.reduce((sum, item) => sum + sizeOf(item), 0);
  }

  push(item: T): void {
    if (!this.#end) {
      this.#items.push(item);
      this.#wake?.();
    }
  }

  /** Ends the pipe. What was pushed before is still read. */
  end(): void {
    this.#finish(undefined);
  }

  /** Breaks the pipe. What was pushed before is still read. */
  fail(error: Error): void {
    this.#finish(error);
  }

  #finish(error: Error | undefined): void {
    this.#end ??= { error };
    this.#wake?.();
  }

  /** Returns the next item; `undefined` at the end. Rejects if the pipe has broken. */
  async read(): Promise<T | undefined> {
    for (;;) {
      const item = this.#items.shift();
      if (item !== undefined) {
        return item;
      }
      if (this.#end) {
        if (this.#end.error) {
          throw this.#end.error;
        }
        return undefined;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
