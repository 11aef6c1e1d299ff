// RPC and typed events against the protocol's vectors, and the rules of names.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as wire from "../../src/wire/index.js";
import { bytesOf, hexOf, vectors } from "./vectors.js";

interface Case {
  name: string;
  hex: string;
  payload: string;
  request: number;
  timeout_ms: number;
  method: string;
  code: number;
  text: string | null;
  type: string;
  data: string;
}

type File = Record<"requests" | "answers" | "typed_events", Case[]> & {
  refused: { what: "rpc" | "typed_event"; why: string; hex: string }[];
};

const file = vectors<File>("application");

function textOf(hex: string): string {
  return wire.strictText(bytesOf(hex)) ?? "";
}

test("requests, answers and typed events are read and written as the vectors say", () => {
  for (const { name, hex, request, timeout_ms: timeoutMs, method, payload } of file.requests) {
    const message = {
      kind: "request",
      request,
      timeoutMs,
      method: textOf(method),
      payload: bytesOf(payload),
    } as const;
    assert.deepEqual(wire.parseRpc(bytesOf(hex)), message, name);
    assert.equal(hexOf(wire.encodeRpc(message)), hex, name);
  }
  for (const { name, hex, request, code, payload, text } of file.answers) {
    const message = { kind: "answer", request, code, payload: bytesOf(payload) } as const;
    assert.deepEqual(wire.parseRpc(bytesOf(hex)), message, name);
    assert.equal(hexOf(wire.encodeRpc(message)), hex, name);
    if (text !== null) {
      assert.equal(hexOf(wire.utf8(wire.rpcText(message.payload))), text, name);
    }
  }
  for (const { name, hex, type, data } of file.typed_events) {
    const event = { type: textOf(type), data: bytesOf(data) };
    assert.deepEqual(wire.parseTypedEvent(bytesOf(hex)), event, name);
    assert.equal(hexOf(wire.encodeTypedEvent(event)), hex, name);
  }
});

test("what the vectors say is refused", () => {
  for (const { what, why, hex } of file.refused) {
    const read = what === "rpc" ? wire.parseRpc : wire.parseTypedEvent;
    assert.equal(read(bytesOf(hex)), undefined, `${what}: ${why}`);
  }
});

test("names are checked", () => {
  for (const name of ["grab", "Griff\u{fc}bergabe", " ", "m\u{200c}\u{62e}", "m".repeat(64)]) {
    assert.ok(wire.isEventName(name), name);
  }
  const long = ["m".repeat(65), "\u{fc}".repeat(33)];
  const hidden = ["a\nb", "a\u{202e}b", "\u{200b}", "\u{2028}", "\ud800", "\ufeffa"];
  for (const name of ["", ...hidden, ...long]) {
    assert.ok(!wire.isEventName(name), JSON.stringify(name));
  }
});
