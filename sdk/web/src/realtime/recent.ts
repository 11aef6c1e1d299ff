// A map of bounded size that drops the least recently used keys, in constant time.

/**
 * A map that keeps at least the `limit` most recently used keys and at most twice as many.
 *
 * The map has two generations. When the newer one is full, it becomes the older one, and the keys
 * of the former older one, which were not used since, are dropped.
 */
export class RecentMap<K, V> {
  readonly #limit: number;
  #newer = new Map<K, V>();
  #older = new Map<K, V>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Returns the value of the key. A new key gets the value that `first` returns. */
  getOr(key: K, first: () => V): V {
    const known = this.#newer.get(key);
    if (known !== undefined) {
      return known;
    }
    const value = this.#older.get(key) ?? first();
    this.#older.delete(key);
    if (this.#newer.size >= this.#limit) {
      this.#older = this.#newer;
      this.#newer = new Map();
    }
    this.#newer.set(key, value);
    return value;
  }

  /** Iterates over all keys and values. */
  *entries(): IterableIterator<[K, V]> {
    yield* this.#newer;
    yield* this.#older;
  }

  /** Number of keys. */
  get size(): number {
    return this.#newer.size + this.#older.size;
  }
}
