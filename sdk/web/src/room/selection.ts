/**
 * Room selection: the options of a join that decide which room it finds, and how a new room is
 * created.
 */

import { utf8 } from "../wire/codec.js";
import {
  MAX_APPLICATION_VERSION,
  MAX_EXPECTED,
  MAX_FILTER_VALUES,
  MAX_FILTERS,
  MAX_FIRST_FIELDS,
  MAX_LISTED,
  MAX_PASSWORD,
  MAX_STATE_KEY,
  MAX_STATE_VALUE,
} from "../wire/limits.js";
import {
  BY_INVITATION,
  type Filter,
  FILTER_ONE_OF,
  FILTER_RANGE,
  HIDDEN,
  JOIN_MODES,
  type JoinMode,
  KEPT,
  LOCKED,
  type RoomOptions as WireOptions,
} from "../wire/rooms.js";
import { type Value as WireValue, VALUE_NONE } from "../wire/value.js";
import { type Value, valueToWire } from "../state/value.js";
import { check } from "../session/opening.js";

/** Largest size of fields, conditions and expected users together, in bytes. */
const MAX_BYTES = 8 << 10;
/** Bytes of a value, a list's head and a key in an archive. */
const VALUE_BYTES = 17;
const LIST_BYTES = 8;

/**
 * A condition on a field that rooms list. It does not hold for a room that does not list the
 * field. With `oneOf`, the field has one of these 1 to 16 values, in type too: `1n` does not
 * equal `1`. With `from` and `to`, the field is a number in this range, both ends included; an
 * end that is missing is open.
 */
export type RoomFilter =
  | { readonly key: string; readonly oneOf: readonly Value[] }
  | { readonly key: string; readonly from?: bigint | number; readonly to?: bigint | number };

/** Options of a new room. Used if the join creates the room, ignored if the room exists. */
export interface RoomOptions {
  /** Capacity in peers. Default and maximum: the server's limit. */
  capacity?: number;
  /** Whether the room is neither listed nor matched: it can only be joined by its name. */
  hidden?: boolean;
  /** Locks the room from the start. Needs the right to moderate. */
  locked?: boolean;
  /**
   * Keeps the room when it is empty, until a moderator ends it or the server stops. Needs the
   * right to moderate.
   */
  kept?: boolean;
  /** Admits only this user and the users that the join expects. */
  byInvitation?: boolean;
  /**
   * How long the room and its state stay after the last peer has left, in ms. The server has a
   * maximum (5 min by default).
   */
  emptyTtlMs?: number;
  /**
   * Keys of the room's fields that the lobby lists and that filters can use; at most 8. A text or
   * byte string of more than 256 bytes is not listed.
   */
  listed?: readonly string[];
  /** Fields that the room has from the start; at most 16. */
  fields?: Readonly<Record<string, Value>>;
}

/** How a join selects its room, apart from the name, in wire format. */
export interface RoomSelection {
  mode: number;
  version: Uint8Array;
  password: Uint8Array;
  expected: Uint8Array[];
  options: WireOptions;
  filters: Filter[];
}

/** What an application says of the room that it wants to join. */
export interface SelectionOptions {
  /**
   * How the room is found. `joinOrCreate` (the default): by its name; it is created if it does
   * not exist. `create`: refused with "roomExists" if it exists. `join`: refused with
   * "noSuchRoom" if it does not. `match`: the fullest room that fulfils the filters, refused with
   * "noSuchRoom" without one. `matchOrCreate`: the same, and creates a room without one.
   */
  mode?: JoinMode;
  /**
   * The application's version, at most 32 bytes. Clients with different versions are never in the
   * same room. Default: the empty version, which differs from every other.
   */
  version?: string;
  /** The password of the room to join or create, at most 64 bytes. */
  password?: string;
  /** Ids of users for whom seats are reserved for a minute, at most 16. */
  expectedUsers?: readonly string[];
  /** The options of the room, if this join creates it. */
  options?: RoomOptions;
  /** The conditions of the modes `match` and `matchOrCreate`; at most 8. */
  filters?: readonly RoomFilter[];
}

/** Checks the options of an application, and returns them in wire format. Throws. */
export function selectionOf(wanted: SelectionOptions): RoomSelection {
  const selection = {
    mode: JOIN_MODES[wanted.mode ?? "joinOrCreate"],
    version: utf8(wanted.version ?? ""),
    password: utf8(wanted.password ?? ""),
    expected: (wanted.expectedUsers ?? []).map(utf8),
    options: optionsOf(wanted.options ?? {}),
    filters: filtersOf(wanted.filters ?? []),
  };
  const { version, password, expected, options } = selection;
  check(selection.mode !== undefined, "the mode of a join is unknown");
  check(version.length <= MAX_APPLICATION_VERSION, "the version must have at most 32 bytes");
  check(password.length <= MAX_PASSWORD, "the password must have at most 64 bytes");
  check(expected.length <= MAX_EXPECTED, "at most 16 users can be expected");
  const bytes =
    sum(expected.map((user) => LIST_BYTES + user.length)) +
    sum(options.listed.map((key) => LIST_BYTES + key.length)) +
    sum(options.fields.map(({ key, value }) => LIST_BYTES + key.length + sizeOf(value))) +
    filterBytes(selection.filters);
  check(
    bytes <= MAX_BYTES,
    "fields, conditions and expected users must have at most 8 KiB together",
  );
  return selection;
}

function optionsOf(options: RoomOptions): WireOptions {
  const flag = (isSet: boolean | undefined, bit: number) => (isSet ? bit : 0);
  const listed = (options.listed ?? []).map(utf8);
  const fields = Object.entries(options.fields ?? {}).map(([key, value]) => {
    return { key: utf8(key), value: checkedValue(value) };
  });
  check(listed.length <= MAX_LISTED, "at most 8 fields can be listed");
  check(fields.length <= MAX_FIRST_FIELDS, "a room can be created with at most 16 fields");
  listed.forEach(checkKey);
  fields.forEach(({ key }) => checkKey(key));
  return {
    capacity: Math.min(options.capacity ?? 0, 0xffff),
    flags:
      flag(options.hidden, HIDDEN) |
      flag(options.locked, LOCKED) |
      flag(options.kept, KEPT) |
      flag(options.byInvitation, BY_INVITATION),
    emptyTtlMs: Math.min(options.emptyTtlMs ?? 0, 0xffff_ffff),
    listed,
    fields,
  };
}

/** Checks filters, and returns them in wire format. Throws. */
export function filtersOf(filters: readonly RoomFilter[]): Filter[] {
  check(filters.length <= MAX_FILTERS, "there can be at most 8 filters");
  const converted = filters.map((filter) => {
    const isRange = !("oneOf" in filter);
    const values = isRange
      ? [boundOf(filter.from), boundOf(filter.to)]
      : filter.oneOf.map(checkedValue);
    const isValid = values.length > 0 && values.length <= MAX_FILTER_VALUES;
    check(isValid, "a filter has 1 to 16 values");
    const key = utf8(filter.key);
    checkKey(key);
    return { key, kind: isRange ? FILTER_RANGE : FILTER_ONE_OF, values };
  });
  check(filterBytes(converted) <= MAX_BYTES, "filters must have at most 8 KiB");
  return converted;
}

function boundOf(bound: bigint | number | undefined): WireValue {
  const open = { kind: VALUE_NONE, bits: 0n, bytes: new Uint8Array(0) };
  return bound === undefined ? open : checkedValue(bound);
}

function checkedValue(value: Value): WireValue {
  const wire = valueToWire(value);
  const isValid = wire.bytes.length <= MAX_STATE_VALUE && !Number.isNaN(value);
  check(isValid, "a value has at most 4 KiB, and is not NaN");
  return wire;
}

function checkKey(key: Uint8Array): void {
  check(key.length > 0 && key.length <= MAX_STATE_KEY, "a key has 1 to 64 bytes");
}

function filterBytes(filters: readonly Filter[]): number {
  return sum(filters.map(({ key, values }) => VALUE_BYTES + key.length + sum(values.map(sizeOf))));
}

function sizeOf(value: WireValue): number {
  return VALUE_BYTES + value.bytes.length;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

/** Returns whether a join looks for any matching room instead of a named one. */
export function isMatch(mode: number): boolean {
  return mode === JOIN_MODES.match || mode === JOIN_MODES.matchOrCreate;
}

/**
 * Returns the selection for joining again by name a room that this client was in.
 *
 * If the room no longer exists, the first client that comes back creates it again, unless that
 * client joined with the mode `join`.
 */
export function forRejoin(selection: RoomSelection): RoomSelection {
  const { mode, expected, options } = selection;
  const isPrivate = (options.flags & BY_INVITATION) !== 0;
  return {
    ...selection,
    mode: mode === JOIN_MODES.join ? mode : JOIN_MODES.joinOrCreate,
    expected: isPrivate ? expected : [],
    filters: [],
  };
}
