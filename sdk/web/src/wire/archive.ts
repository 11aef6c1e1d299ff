// The archives of docs/PROTOCOL.md ("Archives"): the layout of rkyv 0.8 with little-endian,
// unaligned numbers and 32-bit offsets. And the plain layout of the handshake: field by field.

import { EMPTY, Reader, viewOf, WireError, Writer } from "./codec.js";
import type { Fields, Init, Kind, Of } from "./kinds.js";

/** A kind as the codec looks at it: only one of the three is there. */
interface AnyKind {
  readonly array?: number;
  readonly list?: Kind;
  readonly fields?: Fields;
}

/** Values as the codec looks at them. Their exact types follow from the kinds. */
type Value = number | bigint | Uint8Array | readonly Value[] | StructValue | undefined;

interface StructValue {
  [name: string]: Value;
}

/** Bytes that a list takes in place: offset and count. */
const LIST_BYTES = 8;

const SIZES = new WeakMap<Fields, number>();

/** Returns how many bytes a value of this kind takes in place. */
export function sizeOf(kind: Kind): number {
  if (typeof kind === "number") {
    return kind || LIST_BYTES;
  }
  const { array, fields } = kind as AnyKind;
  if (!fields) {
    return array ?? LIST_BYTES;
  }
  let size = SIZES.get(fields);
  if (size === undefined) {
    size = Object.values(fields).reduce<number>((sum, field) => sum + sizeOf(field), 0);
    SIZES.set(fields, size);
  }
  return size;
}

/** Where the elements of a list, or those of a struct's lists, were written. */
type Places = Places[] | number;

/** Writes the lists inside a value. Returns where they are, for `putInPlace`. */
function putLists(out: Writer, kind: Kind, value: Value): Places {
  if (kind === 0) {
    const start = out.length;
    out.bytes((value as Uint8Array | undefined) ?? EMPTY);
    return start;
  }
  const { list, fields } = kind as AnyKind;
  if (fields) {
    const struct = value as StructValue | undefined;
    return Object.entries(fields).map(([name, field]) => putLists(out, field, struct?.[name]));
  }
  if (list === undefined) {
    return 0;
  }
  const items = (value ?? []) as readonly Value[];
  const places = items.map((item) => putLists(out, list, item));
  const start = out.length;
  items.forEach((item, i) => putInPlace(out, list, item, places[i] ?? 0));
  return start;
}

/** Writes what a value has in place: numbers, arrays, and the offset and count of each list. */
function putInPlace(out: Writer, kind: Kind, value: Value, places: Places): void {
  const { array, fields } = kind as AnyKind;
  if (fields) {
    const struct = value as StructValue | undefined;
    Object.entries(fields).forEach(([name, field], i) =>
      putInPlace(out, field, struct?.[name], (places as Places[])[i] ?? 0),
    );
  } else if (array !== undefined) {
    putArray(out, array, value as Uint8Array | undefined);
  } else if (typeof kind === "number" && kind > 0) {
    putNumber(out, kind, value);
  } else {
    out.u32((places as number) - out.length);
    out.u32(lengthOf(value));
  }
}

function lengthOf(value: Value): number {
  return (value as ArrayLike<unknown> | undefined)?.length ?? 0;
}

/** Writes bytes of a fixed number. */
function putArray(out: Writer, length: number, value: Uint8Array = EMPTY): void {
  out.bytes(value.subarray(0, length));
  out.bytes(new Uint8Array(length - Math.min(length, value.length)));
}

/** Writes a number of 1, 2, 4 or 8 bytes. */
function putNumber(out: Writer, size: number, value: Value): void {
  if (size === 8) {
    out.u64(BigInt((value as bigint | undefined) ?? 0));
    return;
  }
  const number = (value as number | undefined) ?? 0;
  if (size === 4) {
    out.u32(number);
  } else if (size === 2) {
    out.u16(number);
  } else {
    out.u8(number);
  }
}

/** Appends the archive of a value. */
export function putArchive<K extends Kind>(out: Writer, kind: K, value: Init<K>): void {
  const v = value as Value;
  putInPlace(out, kind, v, putLists(out, kind, v));
}

/** Reads a number of 1, 2, 4 or 8 bytes. */
function numberAt(view: DataView, size: number, at: number): number | bigint {
  switch (size) {
    case 8:
      return view.getBigUint64(at, true);
    case 4:
      return view.getUint32(at, true);
    case 2:
      return view.getUint16(at, true);
    default:
      return view.getUint8(at);
  }
}

/**
 * Checks and reads an archive as docs/PROTOCOL.md says ("Checking an archive"): no two claims
 * overlap, so the work and the memory are bounded by the length of the body.
 */
class Archive {
  readonly #body: Uint8Array;
  readonly #view: DataView;
  #low = 0;
  #high: number;

  constructor(body: Uint8Array) {
    this.#body = body;
    this.#view = viewOf(body);
    this.#high = body.length;
  }

  _claim(at: number, size: number, read: () => Value): Value {
    const end = at + size;
    const high = this.#high;
    if (at < this.#low || end > high) {
      throw new WireError("invalid archive");
    }
    this.#high = at;
    const value = read();
    this.#low = end;
    this.#high = high;
    return value;
  }

  _read(kind: Kind, at: number): Value {
    if (typeof kind === "number" && kind > 0) {
      return numberAt(this.#view, kind, at);
    }
    const { array, list, fields } = kind as AnyKind;
    if (fields) {
      const value: StructValue = {};
      for (const name in fields) {
        const field = fields[name] as Kind;
        value[name] = this._read(field, at);
        at += sizeOf(field);
      }
      return value;
    }
    if (array !== undefined) {
      return this.#body.slice(at, at + array);
    }
    const start = at + this.#view.getInt32(at, true);
    const count = this.#view.getUint32(at + 4, true);
    if (list === undefined) {
      return this._claim(start, count, () => this.#body.slice(start, start + count));
    }
    const size = sizeOf(list);
    return this._claim(start, count * size, () =>
      Array.from({ length: count }, (_, i) => this._read(list, start + i * size)),
    );
  }
}

/** Reads the archive of a value. Throws `WireError` if the body is no such archive. */
export function readArchive<K extends Kind>(kind: K, body: Uint8Array): Of<K> {
  const archive = new Archive(body);
  const size = sizeOf(kind);
  const root = body.length - size;
  return archive._claim(root, size, () => archive._read(kind, root)) as Of<K>;
}

/** Appends a value field by field: byte strings with a `u16` length, lists with a `u8` count. */
export function putPlain<K extends Kind>(out: Writer, kind: K, value: Init<K>): void {
  putField(out, kind, value as Value);
}

function putField(out: Writer, kind: Kind, value: Value): void {
  const { array, list, fields } = kind as AnyKind;
  if (fields) {
    const struct = value as StructValue | undefined;
    Object.entries(fields).forEach(([name, field]) => putField(out, field, struct?.[name]));
  } else if (array !== undefined) {
    putArray(out, array, value as Uint8Array | undefined);
  } else if (list !== undefined) {
    out.u8(lengthOf(value));
    (value as readonly Value[] | undefined)?.forEach((item) => putField(out, list, item));
  } else if (kind === 0) {
    out.u16(lengthOf(value));
    out.bytes((value as Uint8Array | undefined) ?? EMPTY);
  } else {
    putNumber(out, kind as number, value);
  }
}

/** Reads a value field by field. Throws `WireError` if the bytes end before its last field. */
export function readPlain<K extends Kind>(kind: K, reader: Reader): Of<K> {
  return readField(kind, reader) as Of<K>;
}

function readField(kind: Kind, reader: Reader): Value {
  if (kind === 0) {
    return reader.bytes(reader.u16()).slice();
  }
  if (typeof kind === "number") {
    return numberAt(reader._view, kind, reader._skip(kind));
  }
  const { array, list, fields } = kind as AnyKind;
  if (fields) {
    const value: StructValue = {};
    for (const name in fields) {
      value[name] = readField(fields[name] as Kind, reader);
    }
    return value;
  }
  if (list !== undefined) {
    return Array.from({ length: reader.u8() }, () => readField(list, reader));
  }
  return reader.bytes(array ?? 0).slice();
}
