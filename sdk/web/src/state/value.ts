// The typed values of fields.

import { ProtocolError } from "../session/error.js";
import { checkBytes } from "../session/to.js";
import { EMPTY, sameBytes, strictText, utf8, viewOf } from "../wire/codec.js";
import { MAX_STATE_VALUE } from "../wire/limits.js";
import {
  VALUE_BOOL,
  VALUE_BYTES,
  VALUE_FLOAT,
  VALUE_INTEGER,
  VALUE_NONE,
  VALUE_TEXT,
} from "../wire/value.js";
import type { Value as WireValue } from "../wire/value.js";

/**
 * A typed value of at most 4 KiB. A `bigint` is a signed integer of 64 bits, and a `number` a
 * float of 64 bits, which may be infinite but not NaN: the integer `1n` and the float `1` are two
 * values. Put larger data on a storage server, and its address here.
 */
export type Value = boolean | bigint | number | string | Uint8Array;

/** A view for the bits of floats. */
const FLOAT = viewOf(new Uint8Array(8));

/** Returns a value in wire format. An integer is cut to 64 bits. */
export function valueToWire(value: Value): WireValue {
  const wire = (kind: number, bits: bigint, bytes: Uint8Array = EMPTY): WireValue => {
    return { kind, bits, bytes };
  };
  switch (typeof value) {
    case "boolean":
      return wire(VALUE_BOOL, value ? 1n : 0n);
    case "bigint":
      return wire(VALUE_INTEGER, BigInt.asUintN(64, value));
    case "number":
      FLOAT.setFloat64(0, value);
      return wire(VALUE_FLOAT, FLOAT.getBigUint64(0));
    case "string":
      return wire(VALUE_TEXT, 0n, utf8(value));
    default:
      checkBytes(value);
      return wire(VALUE_BYTES, 0n, value);
  }
}

/**
 * Reads a value; `undefined` for a value without a kind, which removes a field. Throws
 * `ProtocolError` if the kind is unknown, or the value is not one of its kind.
 */
export function valueFromWire({ kind, bits, bytes }: WireValue): Value | undefined {
  const value = bytes.length > MAX_STATE_VALUE ? undefined : typedValue(kind, bits, bytes);
  if (value === undefined && (kind !== VALUE_NONE || bytes.length > MAX_STATE_VALUE)) {
    throw new ProtocolError(`a value of type ${kind} is invalid`);
  }
  return value;
}

function typedValue(kind: number, bits: bigint, bytes: Uint8Array): Value | undefined {
  switch (kind) {
    case VALUE_BOOL:
      return bits > 1n ? undefined : bits === 1n;
    case VALUE_INTEGER:
      return BigInt.asIntN(64, bits);
    case VALUE_FLOAT: {
      FLOAT.setBigUint64(0, bits);
      const float = FLOAT.getFloat64(0);
      return Number.isNaN(float) ? undefined : float;
    }
    case VALUE_TEXT:
      return strictText(bytes);
    case VALUE_BYTES:
      return bytes;
    default:
      return undefined;
  }
}

/** Returns whether two values are equal, in kind too. */
export function sameValue(a: Value, b: Value): boolean {
  return a instanceof Uint8Array && b instanceof Uint8Array ? sameBytes(a, b) : a === b;
}
