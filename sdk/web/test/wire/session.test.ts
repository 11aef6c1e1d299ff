// The messages of the session plane against the protocol's vectors: catches a wrong field, order,
// size or offset in the tables and the codec, in both directions.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  CODES,
  codeName,
  decodeBody,
  encodeMessage,
  EventUp,
  featureBytes,
  GROUPS,
  groupSet,
  HEADER_BYTES,
  isGroup,
  Join,
  MAX_CONTROL_MESSAGE,
  MAX_EVENT_MESSAGE,
  mayReconnect,
  parseFeatures,
  readHeader,
  SCHEMAS,
  settingsFromList,
  WireError,
} from "../../src/wire/index.js";
import { bytesOf, hexOf, valueOf, vectors, type Json } from "./vectors.js";

interface Message {
  name: string;
  schema: number;
  hex: string;
  fields: { [name: string]: Json };
}

const { messages } = vectors<{ messages: Message[] }>("session");

test("every message is read and written as the vectors say", () => {
  for (const { name, schema: number, hex, fields } of messages) {
    const bytes = bytesOf(hex);
    const header = readHeader(bytes.subarray(0, HEADER_BYTES), MAX_CONTROL_MESSAGE);
    const { schema } = header;
    assert.deepEqual([header.length, schema.schema], [bytes.length - HEADER_BYTES, number], name);
    const value = valueOf(schema, fields) as never;
    assert.deepEqual(decodeBody(schema, bytes.subarray(HEADER_BYTES)), value, `${name}, read`);
    assert.equal(hexOf(encodeMessage(schema, value)), hex, `${name}, written`);
  }
});

test("every schema has a vector", () => {
  const tested = new Set(messages.map(({ schema }) => schema));
  assert.deepEqual(
    [...SCHEMAS.keys()].filter((schema) => !tested.has(schema)),
    [],
  );
});

test("the bytes of the example in the protocol's document", () => {
  const event = encodeMessage(EventUp, {
    target: 2,
    peers: [1, 2, 3],
    payload: new TextEncoder().encode("grab"),
  });
  const elements = "01000000020000000300000067726162";
  const root = "020000edffffff03000000f1ffffff04000000";
  assert.equal(hexOf(event.subarray(HEADER_BYTES)), elements + root);
});

test("a field that is left out is zero or empty", () => {
  const join = decodeBody(Join, encodeMessage(Join, { mode: 2 }).subarray(HEADER_BYTES));
  assert.equal(join.mode, 2);
  assert.equal(join.lastEvent, 0n);
  assert.deepEqual([join.token.length, join.expected, join.options.fields], [0, [], []]);
});

test("a reader ignores bytes behind a plain message, and keeps no view of its input", () => {
  const hello = messages.find(({ name }) => name === "hello");
  assert.ok(hello);
  const bytes = bytesOf(`${hello.hex}ffff`);
  const schema = SCHEMAS.get(1);
  assert.ok(schema);
  const value = decodeBody(schema, bytes.subarray(HEADER_BYTES));
  assert.deepEqual(value, valueOf(schema, hello.fields));
  bytes.fill(0);
  assert.deepEqual(value, valueOf(schema, hello.fields));
});

test("a message over the limit is refused", () => {
  const header = encodeMessage(EventUp, { payload: new Uint8Array(MAX_EVENT_MESSAGE) });
  assert.throws(() => readHeader(header, MAX_EVENT_MESSAGE), WireError);
});

test("settings have defaults, the last of a key counts, and huge values are cut", () => {
  const defaults = settingsFromList([]);
  assert.equal(defaults.maxEvent, 16_384);
  assert.equal(Object.keys(defaults).length, 30);
  const told = settingsFromList([
    { key: 7, value: 5n },
    { key: 60_000, value: 1n },
    { key: 7, value: 6n },
    { key: 12, value: 2n ** 64n - 1n },
  ]);
  assert.deepEqual([told.maxEvent, told.eventsPerS], [6, Number.MAX_SAFE_INTEGER]);
  assert.deepEqual({ ...told, maxEvent: 16_384, eventsPerS: 200 }, defaults);
});

test("features come back, and later ones are ignored", () => {
  assert.equal(featureBytes(0).length, 0);
  assert.equal(parseFeatures(featureBytes(7)), 7);
  assert.equal(parseFeatures(new Uint8Array(40).fill(5)), 5);
  assert.equal(parseFeatures(new Uint8Array(0)), 0);
});

test("codes have names, and unknown ones may pass by themselves", () => {
  for (const [name, number] of Object.entries(CODES)) {
    assert.equal(codeName(number), name);
  }
  const again = [...Array(100).keys()].filter((code) => codeName(code) && mayReconnect(code));
  assert.deepEqual(again, [3, 30, 31, 32, 41, 42]);
  assert.ok(mayReconnect(9_999) && codeName(9_999) === undefined);
});

test("every group has a bit of its own", () => {
  const all = [...Array(GROUPS).keys()];
  const sets = new Set(all.map((group) => hexOf(groupSet([group]))));
  assert.equal(sets.size, GROUPS);
  assert.deepEqual(groupSet(all), new Uint8Array(30).fill(0xff));
  assert.deepEqual(groupSet([-1, 240, 0.5, NaN]), new Uint8Array(30));
  assert.equal(groupSet([9])[1], 2);
  assert.ok(isGroup(239) && !isGroup(240));
});
