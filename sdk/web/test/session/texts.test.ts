// Tickets as texts, and what a client reads in its own token.

import assert from "node:assert/strict";
import { test } from "node:test";

import { encodeEvent } from "../../src/session/to.js";
import { ticketFromText, ticketToText, toBase64Url } from "../../src/session/ticket.js";
import { pinsIn, roomIn, trimmed } from "../../src/session/token.js";
import { EventUp } from "../../src/wire/messages.js";
import { decodeBody } from "../../src/wire/schema.js";

test("a ticket survives as text and no other text is one", () => {
  const ticket = {
    room: "Konferenz ü",
    sent: [[(1 << 24) | 5, 65_535]] as const,
    ticket: Uint8Array.from({ length: 80 }, (_, n) => n),
    lastSequences: [7n, 2n ** 64n - 1n] as [bigint, bigint],
    isPartial: true,
  };
  const text = ticketToText(ticket);
  assert.match(text, /^[\w-]+$/);
  assert.deepEqual(ticketFromText(` ${text}\n`), ticket);
  for (let at = 0; at < text.length; at += 1) {
    assert.equal(ticketFromText(text.slice(0, at)), undefined, `${at}`);
    const other = text[at] === "A" ? "B" : "A";
    const damaged = text.slice(0, at) + other + text.slice(at + 1);
    assert.equal(ticketFromText(damaged), undefined, `${at}`);
  }
  for (const other of ["", "ü", "AAAA", text.replaceAll("A", "!"), "A".repeat(100_000)]) {
    assert.equal(ticketFromText(other), undefined);
  }
});

function token(payload: string): string {
  return `e30.${toBase64Url(new TextEncoder().encode(payload))}.c2ln`;
}

test("pins and the room are read from a token", () => {
  const pin = new Uint8Array(32).fill(7);
  const text = toBase64Url(pin);
  assert.deepEqual(pinsIn(token(`{"pin":["${text}","${text}"]}`)), [pin, pin]);
  const single = token(`{"pin":"${text}","room":"lobby"}`);
  assert.deepEqual([pinsIn(single), roomIn(single)], [[pin], "lobby"]);
  assert.equal(roomIn(token(`{"room":"class-*"}`)), undefined);
  assert.deepEqual(pinsIn(token(`{"pin":["sha512-AAAA","${text}","${text}="]}`)), [pin]);
  assert.equal(trimmed(`\ufeff ${single}\n`), single);
});

test("what is not there is not invented", () => {
  const payloads = ["{}", `{"pin":"AAAA"}`, `{"pin":7}`, `{"pin":[7]}`, `{"pin":[]}`, "nonsense"];
  const others = ["", "a.b", "x".repeat(5_000), token("null"), token("[1]"), "a.!!.c"];
  for (const text of [...payloads.map(token), ...others]) {
    assert.deepEqual(pinsIn(text), [], text);
    assert.equal(roomIn(text), undefined, text);
  }
});

test("an event is encoded for its recipients", () => {
  const payload = Uint8Array.of(1);
  const fields = (to: Parameters<typeof encodeEvent>[0]) => {
    const { target, peers } = decodeBody(EventUp, encodeEvent(to, 7, 0, payload, 10).slice(8));
    return [target, peers];
  };
  assert.deepEqual(fields("all"), [0, []]);
  assert.deepEqual(fields("others"), [1, []]);
  assert.deepEqual(fields({ peers: [3, 4] }), [2, [3, 4]]);
  assert.deepEqual(fields("host"), [3, []]);
  assert.deepEqual(fields({ group: 9 }), [4, [9]]);
  assert.deepEqual(fields("later"), [5, []]);
  assert.throws(() => fields({ group: 240 }), { code: "invalidArgument" });
  assert.throws(() => fields({ peers: new Array(1_025).fill(1) }), { code: "tooManyPeers" });
  assert.throws(() => encodeEvent("all", 7, 0, payload, 0), { code: "tooLarge" });
});
