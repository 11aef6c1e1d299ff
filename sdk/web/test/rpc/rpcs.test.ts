// Both sides of RPC: catches an answer that reaches the wrong caller, a request that never ends,
// and a peer that keeps others from asking.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { RpcAnswer, RpcArrival } from "../../src/rpc/index.js";
import { Rpcs } from "../../src/rpc/index.js";
import { localError, NucleusError } from "../../src/session/error.js";
import { encodeRpc, parseRpc, RPC_BUSY, utf8 } from "../../src/wire/index.js";

const PEER = 2;
const OTHER = 3;
const SECOND = 1_000;
const CUP = utf8("cup");

function start(rpcs: Rpcs, now: number, timeoutMs: number) {
  const call = { to: PEER, method: "grab", payload: CUP, timeoutMs };
  rpcs.check(call);
  return rpcs.start(now, call);
}

function answerTo(request: number, code: number, payload: Uint8Array): Uint8Array {
  return encodeRpc({ kind: "answer", request, code, payload });
}

function requestOf(request: number, timeoutMs: number): Uint8Array {
  return encodeRpc({ kind: "request", request, timeoutMs, method: "grab", payload: CUP });
}

/** Handles an event of a peer. Each peer is one of a user of its own. */
function receive(rpcs: Rpcs, now: number, from: number, payload: Uint8Array): RpcArrival {
  return rpcs.receive(now, from, `user ${from}`, payload);
}

function admitted(arrival: RpcArrival): number {
  assert.ok(arrival.kind === "request", "no request for the application");
  assert.deepEqual([arrival.method, arrival.payload], ["grab", CUP]);
  return arrival.id;
}

/** Returns the code of what a function throws. */
function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof NucleusError);
    return error.code;
  }
  return "nothing";
}

/** Returns the result of a request: its payload as text, or its error. */
function resultOf(rpcs: Rpcs, number: number): unknown {
  const result = rpcs.take(number);
  if (result instanceof Uint8Array) {
    return new TextDecoder().decode(result);
  }
  return result && [result.code, result.number];
}

test("an answer ends its request once", () => {
  const rpcs = new Rpcs(1);
  const cases: [number, Uint8Array, unknown][] = [
    [0, utf8("yes"), "yes"],
    [1, utf8(""), ["noSuchMethod", undefined]],
    [2, utf8(""), ["peerBusy", undefined]],
    [77, utf8("later"), ["rpcFault", 77]],
    [256, Uint8Array.of(0x6e, 0xff), ["rpcFault", 256]],
  ];
  for (const [code, payload, result] of cases) {
    const { number } = start(rpcs, 0, SECOND);
    const answer = answerTo(number, code, payload);
    assert.equal(receive(rpcs, 0, PEER, answer).kind, "nothing");
    assert.equal(receive(rpcs, 0, PEER, answer).kind, "nothing", "again");
    assert.deepEqual(resultOf(rpcs, number), result);
    assert.equal(rpcs.take(number), undefined);
  }
  assert.deepEqual([rpcs.malformed, rpcs.deadline()], [0, Infinity]);
});

test("the text of a failure reaches the caller, cut and as UTF-8", () => {
  const rpcs = new Rpcs(1);
  const { number } = start(rpcs, 0, SECOND);
  receive(rpcs, 0, PEER, answerTo(number, 256, Uint8Array.of(0x6e, 0x6f, 0x20, 0xff)));
  const error = rpcs.take(number);
  assert.ok(error instanceof NucleusError);
  assert.match(error.message, /256: no \ufffd$/);
});

test("an answer of another peer is malformed", () => {
  const rpcs = new Rpcs(1);
  const { number } = start(rpcs, 0, SECOND);
  const answer = answerTo(number, 0, utf8("mine"));
  assert.equal(receive(rpcs, 0, OTHER, answer).kind, "nothing");
  assert.deepEqual([rpcs.take(number), rpcs.malformed], [undefined, 1]);
  receive(rpcs, 0, PEER, answer);
  assert.equal(resultOf(rpcs, number), "mine");
});

test("requests end by time, departure and a new peer", () => {
  const rpcs = new Rpcs(1);
  const short = start(rpcs, 0, SECOND).number;
  const long = start(rpcs, 0, 9 * SECOND).number;
  assert.equal(rpcs.deadline(), SECOND);
  rpcs.handleTimeout(SECOND);
  assert.deepEqual(resultOf(rpcs, short), ["rpcTimedOut", undefined]);
  assert.equal(rpcs.take(long), undefined);
  assert.equal(rpcs.deadline(), 9 * SECOND);
  rpcs.peerLeft(OTHER);
  assert.equal(rpcs.take(long), undefined);
  rpcs.peerLeft(PEER);
  assert.deepEqual(resultOf(rpcs, long), ["peerLeft", undefined]);

  const last = start(rpcs, 9 * SECOND, SECOND).number;
  const id = admitted(receive(rpcs, 9 * SECOND, PEER, requestOf(1, 5_000)));
  rpcs.endAll("interrupted");
  assert.deepEqual(resultOf(rpcs, last), ["interrupted", undefined]);
  assert.equal(
    codeOf(() => rpcs.answer(9 * SECOND, id, CUP)),
    "notWaiting",
  );
  assert.deepEqual(rpcs.waiting(9 * SECOND), { outgoing: 0, incoming: 0 });
  assert.equal(rpcs.deadline(), Infinity);
  const closed = start(rpcs, 9 * SECOND, SECOND).number;
  rpcs.endAll("closed");
  assert.deepEqual(resultOf(rpcs, closed), ["closed", undefined]);
});

test("a forgotten request leaves nothing and frees its place", () => {
  const rpcs = new Rpcs(1);
  const numbers = Array.from({ length: 64 }, () => start(rpcs, 0, SECOND).number);
  assert.equal(
    codeOf(() => start(rpcs, 0, SECOND)),
    "tooMany",
  );
  receive(rpcs, 0, PEER, answerTo(numbers[1] ?? 0, 0, CUP));
  assert.equal(
    codeOf(() => start(rpcs, 0, SECOND)),
    "tooMany",
    "a result waits, too",
  );
  rpcs.forget(numbers[0] ?? 0);
  rpcs.forget(numbers[1] ?? 0);
  assert.deepEqual(rpcs.waiting(0), { outgoing: 62, incoming: 0 });
  start(rpcs, 0, SECOND);
  receive(rpcs, 0, PEER, answerTo(numbers[0] ?? 0, 0, utf8("late")));
  assert.equal(rpcs.take(numbers[0] ?? 0), undefined);
  assert.equal(rpcs.take(numbers[1] ?? 0), undefined);
});

test("a request that cannot be made is refused", () => {
  const rpcs = new Rpcs(1);
  const call = (method: string, timeoutMs: number): string =>
    codeOf(() => rpcs.check({ to: PEER, method, payload: CUP, timeoutMs }));
  for (const method of ["", "a\n", "m".repeat(65)]) {
    assert.equal(call(method, SECOND), "invalidName");
  }
  for (const timeoutMs of [0, -1, 60_000.1, Infinity, NaN]) {
    assert.equal(call("grab", timeoutMs), "invalidArgument", `${timeoutMs}`);
  }
  assert.deepEqual([call("grab", 0.001), call("grab", 60_000)], ["nothing", "nothing"]);
});

test("a request says how long its caller still waits", () => {
  const rpcs = new Rpcs(1);
  const { number, payload } = start(rpcs, 0, 5 * SECOND);
  const timeout = (event: Uint8Array | undefined): number => {
    const message = event && parseRpc(event);
    assert.ok(message?.kind === "request" && message.request === number);
    assert.deepEqual([message.method, message.payload], ["grab", CUP]);
    return message.timeoutMs;
  };
  assert.equal(timeout(payload), 5_000);
  assert.equal(timeout(rpcs.refresh(3_000, payload)), 2_000);
  assert.equal(timeout(rpcs.refresh(4_999.999, payload)), 1);
  assert.equal(rpcs.refresh(5_000, payload), undefined);
  const answer = answerTo(number, 0, CUP);
  assert.equal(rpcs.refresh(5_000, answer), answer);
  rpcs.fail(payload, localError("tooLarge", "too large"));
  assert.deepEqual(resultOf(rpcs, number), ["tooLarge", undefined]);
});

test("a request is answered once and in time", () => {
  const rpcs = new Rpcs(1);
  const id = admitted(receive(rpcs, 0, PEER, requestOf(9, 5_000)));
  assert.equal(rpcs.timeLeft(2_000, id), 3_000);
  for (const code of [0, 1, 2, 3, 255, 65_536, 256.5, NaN]) {
    assert.equal(
      codeOf(() => rpcs.answer(1, id, { code })),
      "reservedCode",
      `${code}`,
    );
  }
  const sent = (answer: RpcAnswer) => {
    const { to, payload } = rpcs.answer(1, id, answer);
    const message = parseRpc(payload);
    assert.ok(to === PEER && message?.kind === "answer" && message.request === 9);
    return [message.code, new TextDecoder().decode(message.payload)];
  };
  assert.deepEqual(sent({ code: 256, text: "no cup" }), [256, "no cup"]);
  assert.deepEqual(sent({ code: "noSuchMethod" }), [1, ""]);
  assert.deepEqual(sent({ code: "busy" }), [2, ""]);
  assert.deepEqual(sent(CUP), [0, "cup"]);
  const long = sent({ code: 65_535, text: `x${"\u{fc}".repeat(1_000)}` });
  assert.deepEqual(long, [65_535, `x${"\u{fc}".repeat(511)}`], "whole characters only");
  rpcs.answered(id);
  assert.equal(
    codeOf(() => rpcs.answer(1, id, CUP)),
    "notWaiting",
    "answered",
  );
  const late = admitted(receive(rpcs, 0, PEER, requestOf(10, 5_000)));
  assert.equal(
    codeOf(() => rpcs.answer(5_000, late, CUP)),
    "notWaiting",
    "too late",
  );
  assert.equal(
    codeOf(() => rpcs.answer(0, 99, CUP)),
    "notWaiting",
  );
});

test("a number may be used again, and an old id does not answer it", () => {
  const rpcs = new Rpcs(1);
  const old = admitted(receive(rpcs, 0, PEER, requestOf(9, 1_000)));
  assert.equal(receive(rpcs, 0, PEER, requestOf(9, 1_000)).kind, "nothing");
  assert.equal(rpcs.malformed, 1, "the number waits");
  const ofOther = admitted(receive(rpcs, 0, OTHER, requestOf(9, 1_000)));
  const again = admitted(receive(rpcs, 1_000, PEER, requestOf(9, 1_000)));
  assert.equal(new Set([old, ofOther, again]).size, 3);
  assert.equal(
    codeOf(() => rpcs.answer(1_000, old, CUP)),
    "notWaiting",
  );
  rpcs.answer(1_000, again, CUP);
});

test("one peer cannot keep others from asking", () => {
  const rpcs = new Rpcs(1);
  const isBusy = (arrival: RpcArrival): boolean => {
    const message = arrival.kind === "answer" ? parseRpc(arrival.payload) : undefined;
    return message?.kind === "answer" && message.code === RPC_BUSY;
  };
  for (let peer = 1; peer <= 8; peer += 1) {
    for (let number = 0; number < 32; number += 1) {
      admitted(receive(rpcs, 0, peer, requestOf(number, 5_000)));
    }
    assert.ok(isBusy(receive(rpcs, 0, peer, requestOf(32, 5_000))), `${peer}`);
  }
  assert.deepEqual(rpcs.waiting(0), { outgoing: 0, incoming: 256 });
  assert.ok(isBusy(receive(rpcs, 0, 9, requestOf(1, 5_000))), "all places are taken");
  rpcs.peerLeft(3);
  admitted(receive(rpcs, 0, 9, requestOf(1, 5_000)));
  assert.equal(rpcs.waiting(4_000).incoming, 225);
  assert.equal(rpcs.waiting(5_000).incoming, 0, "the timeouts have passed");
  admitted(receive(rpcs, 5_000, 1, requestOf(1, 5_000)));
});

test("what a peer asks without end does not use up the events that this client may send", () => {
  const rpcs = new Rpcs(1);
  const flood = (now: number): number => {
    let answers = 0;
    for (let number = 0; number < 10_000; number += 1) {
      const { kind } = receive(rpcs, now, PEER, requestOf(number, 60_000));
      answers += kind === "answer" ? 1 : 0;
    }
    return answers;
  };
  assert.deepEqual(
    [1, 1, 2, 9].map((second) => flood(second * SECOND)),
    [32, 0, 8, 32],
  );
});

test("a user asks only so often, with however many peers", () => {
  const rpcs = new Rpcs(1);
  const ask = (now: number, user: string): number => {
    let count = 0;
    for (let number = 0; number < 1_000; number += 1) {
      const arrival = rpcs.receive(now, 1 + (number % 10), user, requestOf(number, 60_000));
      if (arrival.kind === "request") {
        rpcs.answered(arrival.id);
        count += 1;
      }
    }
    return count;
  };
  const times = [SECOND, SECOND, 2 * SECOND];
  assert.deepEqual(
    times.map((now) => ask(now, "eve")),
    [128, 0, 32],
  );
  assert.equal(ask(2 * SECOND, "ada"), 128);
  // What is known of users is bounded, too.
  let taken = 0;
  for (let user = 0; user < 5_000; user += 1) {
    const arrival = rpcs.receive(9 * SECOND, user, `user ${user}`, requestOf(1, 1));
    taken += arrival.kind === "request" ? 1 : 0;
  }
  assert.equal(taken, 256, "the places that wait are the limit");
  const late = rpcs.receive(9 * SECOND, 7, "late", requestOf(2, 1_000));
  assert.equal(late.kind, "nothing", "too many users are known");
  admitted(rpcs.receive(13 * SECOND, 7, "late", requestOf(2, 1_000)));
});

test("numbers wrap, and leave out one that still waits", () => {
  const rpcs = new Rpcs(0xffff_fffe);
  const numbers = Array.from({ length: 4 }, () => start(rpcs, 0, SECOND).number);
  assert.deepEqual(numbers, [0xffff_fffe, 0xffff_ffff, 0, 1]);
});

test("garbage is counted and changes nothing", () => {
  const rpcs = new Rpcs(1);
  const garbage = [[], [0], [1], [3, 0, 0, 0, 0], Array(9).fill(1), Array(6).fill(2)];
  for (const payload of garbage) {
    assert.equal(receive(rpcs, 0, PEER, Uint8Array.from(payload as number[])).kind, "nothing");
  }
  assert.equal(rpcs.malformed, 6);
  assert.deepEqual(rpcs.waiting(0), { outgoing: 0, incoming: 0 });
});
