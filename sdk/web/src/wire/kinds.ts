// The types of fields. Tables of them describe every layout of the session plane once: the encoder,
// the decoder and the TypeScript types all follow from the tables.

/** A `u8`. */
export const U8 = 1;
/** A `u16`. */
export const U16 = 2;
/** A `u32`. */
export const U32 = 4;
/** A `u64`, a `bigint` in TypeScript. */
export const U64 = 8;
/** A byte string: a list of `u8`. */
export const BYTES = 0;

/** Bytes of a fixed number. */
export interface ArrayKind {
  readonly array: number;
}

/** A list of values of one kind. */
export interface ListKind<K extends Kind> {
  readonly list: K;
}

/** A struct with named fields, in the order of the table. */
export interface StructKind<F extends Fields> {
  readonly fields: F;
}

/** The names and kinds of a struct's fields. */
export interface Fields {
  readonly [name: string]: Kind;
}

/** The type of a field. */
export type Kind =
  | typeof U8
  | typeof U16
  | typeof U32
  | typeof U64
  | typeof BYTES
  | ArrayKind
  | { readonly list: Kind }
  | { readonly fields: Fields };

/** The TypeScript type of the values of a kind. */
export type Of<K> = K extends typeof U64
  ? bigint
  : K extends typeof BYTES | ArrayKind
    ? Uint8Array
    : K extends number
      ? number
      : K extends ListKind<infer E>
        ? Of<E>[]
        : K extends StructKind<infer F>
          ? { -readonly [N in keyof F]: Of<F[N]> }
          : never;

/** A value to encode. A field that is left out is 0 or empty. */
export type Init<K> =
  K extends StructKind<infer F>
    ? { readonly [N in keyof F]?: Init<F[N]> }
    : K extends ListKind<infer E>
      ? readonly Init<E>[]
      : Of<K>;

/** Names a struct's fields. */
export function struct<const F extends Fields>(fields: F): StructKind<F> {
  return { fields };
}

/** A list of values of one kind. */
export function list<const K extends Kind>(kind: K): ListKind<K> {
  return { list: kind };
}
