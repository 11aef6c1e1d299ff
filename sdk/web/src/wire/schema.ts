// The schemas of session messages: each message has its number, its encoding and its layout in one
// table. A released schema never changes; a successor gets a new number.

import { putArchive, putPlain, readArchive, readPlain } from "./archive.js";
import { Reader, Writer } from "./codec.js";
import type { Fields, Init, Of, StructKind } from "./kinds.js";

/** A message's number, encoding and layout. */
export interface Schema<F extends Fields = Fields> {
  /** The number in the header. */
  readonly schema: number;
  /** 0: field by field; 1: archive. */
  readonly encoding: 0 | 1;
  /** Features that both ends must have before the message is sent: see features.ts. */
  readonly feature: number;
  /** The layout of the body. */
  readonly fields: F;
}

/** The value of a message of this schema. */
export type Body<S extends Schema> = Of<StructKind<S["fields"]>>;

/** A message that is laid out field by field. */
export function plain<const F extends Fields>(schema: number, fields: F): Schema<F> {
  return { schema, encoding: 0, feature: 0, fields };
}

/** A message that is an archive. */
export function archive<const F extends Fields>(schema: number, fields: F, feature = 0): Schema<F> {
  return { schema, encoding: 1, feature, fields };
}

/** The version that every schema has today. */
const SCHEMA_VERSION = 1;

/** Length of a message's header in bytes. */
export const HEADER_BYTES = 8;

/** Encodes a message with its header. A field that is left out is 0 or empty. */
export function encodeMessage<S extends Schema>(
  schema: S,
  value: Init<StructKind<S["fields"]>>,
): Uint8Array {
  const out = new Writer();
  out.u32(0);
  out.u8(schema.encoding);
  out.u16(schema.schema);
  out.u8(SCHEMA_VERSION);
  (schema.encoding === 1 ? putArchive : putPlain)(out, { fields: schema.fields }, value);
  const bytes = out.copy();
  new DataView(bytes.buffer).setUint32(0, bytes.length - HEADER_BYTES, true);
  return bytes;
}

/**
 * Decodes the body of a message, the bytes behind the header. Byte strings are copies. The caller
 * still has to check the meaning: UTF-8, ranges, known values.
 *
 * Throws `WireError` if the body does not have the layout of this schema.
 */
export function decodeBody<S extends Schema>(schema: S, body: Uint8Array): Body<S> {
  const kind: StructKind<S["fields"]> = { fields: schema.fields };
  return schema.encoding === 1 ? readArchive(kind, body) : readPlain(kind, new Reader(body));
}
