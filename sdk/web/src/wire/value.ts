// A typed value of a field: of the shared state, and of the lobby's rooms.

import { BYTES, struct, U64, U8 } from "./kinds.js";
import type { Of } from "./kinds.js";

/** A typed value. Fields that its kind does not use are 0 or empty. */
export const Value = struct({ kind: U8, bits: U64, bytes: BYTES });
export type Value = Of<typeof Value>;

/** `Value.kind`: no value, which removes the field. */
export const VALUE_NONE = 0;
/** False or true, 0 or 1 in `bits`. */
export const VALUE_BOOL = 1;
/** A signed integer, two's complement in `bits`. */
export const VALUE_INTEGER = 2;
/** An IEEE 754 double in `bits`; never NaN. */
export const VALUE_FLOAT = 3;
/** UTF-8 in `bytes`. */
export const VALUE_TEXT = 4;
/** Arbitrary bytes in `bytes`. */
export const VALUE_BYTES = 5;
