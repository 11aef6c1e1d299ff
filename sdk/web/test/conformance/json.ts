// Reads JSON of the runner. What is missing is 0 or empty.

/** A JSON value whose fields are read by their types. */
export class Json {
  readonly #value: Readonly<Record<string, unknown>>;

  constructor(value: unknown) {
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    this.#value = isObject ? { ...value } : {};
  }

  has(name: string): boolean {
    return this.#value[name] !== undefined && this.#value[name] !== null;
  }

  get(name: string): Json {
    return new Json(this.#value[name]);
  }

  text(name: string): string {
    const value = this.#value[name];
    return typeof value === "string" ? value : "";
  }

  number(name: string): number {
    const value = this.#value[name];
    return typeof value === "number" ? value : 0;
  }

  bigint(name: string): bigint {
    return BigInt(this.number(name));
  }

  list(name: string): Json[] {
    return this.#array(name).map((item) => new Json(item));
  }

  texts(name: string): string[] {
    return this.#array(name).map(String);
  }

  numbers(name: string): number[] {
    return this.#array(name).map(Number);
  }

  entries(): [string, unknown][] {
    return Object.entries(this.#value);
  }

  #array(name: string): unknown[] {
    const value = this.#value[name];
    return Array.isArray(value) ? value : [];
  }
}
