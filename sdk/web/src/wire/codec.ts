// Reads and writes little-endian values without padding, with bounds checks.

/** Received bytes do not have the layout that the protocol prescribes. */
export class WireError extends Error {
  override readonly name = "WireError";
}

/** No bytes. */
export const EMPTY = new Uint8Array(0);

const ENCODER = new TextEncoder();
const STRICT = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const LOSSY = new TextDecoder("utf-8", { ignoreBOM: true });

/** Encodes a text as UTF-8. A lone surrogate becomes U+FFFD. */
export function utf8(text: string): Uint8Array {
  return ENCODER.encode(text);
}

/** Decodes UTF-8, with U+FFFD in place of what is no UTF-8. */
export function lossyText(bytes: Uint8Array): string {
  return LOSSY.decode(bytes);
}

/** Decodes UTF-8; `undefined` if the bytes are no UTF-8. */
export function strictText(bytes: Uint8Array): string | undefined {
  try {
    return STRICT.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Returns whether two byte strings are equal. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Returns a view of the bytes for reading numbers. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** A cursor over received bytes. Each method that reads throws `WireError` behind the end. */
export class Reader {
  readonly _bytes: Uint8Array;
  readonly _view: DataView;
  _at = 0;

  constructor(bytes: Uint8Array) {
    this._bytes = bytes;
    this._view = viewOf(bytes);
  }

  /** Bytes that have not been read yet. */
  get left(): number {
    return this._bytes.length - this._at;
  }

  /** Moves over `length` bytes. Returns the position of the first. */
  _skip(length: number): number {
    if (length > this.left) {
      throw new WireError("the bytes end too soon");
    }
    const at = this._at;
    this._at += length;
    return at;
  }

  /** Reads the next `length` bytes as a view of the input. */
  bytes(length: number): Uint8Array {
    const at = this._skip(length);
    return this._bytes.subarray(at, at + length);
  }

  /** Reads all bytes that are left as a view of the input. */
  rest(): Uint8Array {
    return this.bytes(this.left);
  }

  u8(): number {
    return this._view.getUint8(this._skip(1));
  }

  u16(): number {
    return this._view.getUint16(this._skip(2), true);
  }

  u32(): number {
    return this._view.getUint32(this._skip(4), true);
  }

  u64(): bigint {
    return this._view.getBigUint64(this._skip(8), true);
  }

  /** Reads three bytes as a number in two's complement. */
  i24(): number {
    const at = this._skip(3);
    return this._view.getUint16(at, true) | (this._view.getInt8(at + 2) << 16);
  }
}

/** Capacity that a writer begins with, in bytes: a datagram, or a small message. */
const FIRST_CAPACITY = 1_200;

/** A buffer that grows. It can be cleared and used again. */
export class Writer {
  _bytes = new Uint8Array(FIRST_CAPACITY);
  _view = viewOf(this._bytes);
  _length = 0;

  /** Bytes written so far. */
  get length(): number {
    return this._length;
  }

  /** Forgets what was written, or what was written behind `length` bytes. */
  clear(length = 0): void {
    this._length = length;
  }

  /** Returns a copy of what was written. */
  copy(): Uint8Array {
    return this._bytes.slice(0, this._length);
  }

  /** Returns what was written as a view, which is valid until the next write. */
  view(): Uint8Array {
    return this._bytes.subarray(0, this._length);
  }

  /** Makes space for `length` bytes. Returns the position of the first. */
  _grow(length: number): number {
    const at = this._length;
    this._length += length;
    if (this._length > this._bytes.length) {
      const bytes = new Uint8Array(Math.max(this._length, 2 * this._bytes.length));
      bytes.set(this._bytes);
      this._bytes = bytes;
      this._view = viewOf(bytes);
    }
    return at;
  }

  bytes(bytes: Uint8Array): void {
    const at = this._grow(bytes.length);
    this._bytes.set(bytes, at);
  }

  u8(value: number): void {
    const at = this._grow(1);
    this._bytes[at] = value;
  }

  u16(value: number): void {
    const at = this._grow(2);
    this._view.setUint16(at, value, true);
  }

  u32(value: number): void {
    const at = this._grow(4);
    this._view.setUint32(at, value, true);
  }

  u64(value: bigint): void {
    const at = this._grow(8);
    this._view.setBigUint64(at, value, true);
  }

  /** Writes the lower three bytes of a number. */
  i24(value: number): void {
    this.u16(value);
    this.u8(value >> 16);
  }
}
