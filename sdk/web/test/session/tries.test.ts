// Which server a client tries, and when.

import assert from "node:assert/strict";
import { test } from "node:test";

import { localError, refusal } from "../../src/session/error.js";
import {
  Backoff,
  isAboutToken,
  mayReconnect,
  mayReturnAfter,
  retryDelay,
} from "../../src/session/reconnect.js";
import { ReturnServers } from "../../src/session/servers.js";
import { Tries } from "../../src/session/tries.js";
import { CODES } from "../../src/wire/code.js";
import { MAX_MOVES } from "../../src/wire/limits.js";

const LOST = localError("noServerAnswer", "lost");

function refused(code: number, endpoints: string[] = [], retryAfterMs?: number) {
  return refusal(code, "", { endpoints, retryAfterMs });
}

test("pauses grow and differ between clients", () => {
  const pauses = (random: number) => {
    const backoff = new Backoff();
    return Array.from({ length: 7 }, () => backoff.pause(0, random));
  };
  const least = [0, 300, 1_200, 2_700, 4_800, 4_800, 4_800];
  assert.deepEqual(pauses(0), least);
  assert.deepEqual(
    pauses(1),
    least.map((least) => least + 1_000),
  );
  assert.equal(new Backoff().pause(9_000, 0), 9_000, "the server asks for more");
});

test("ends that are meant are final", () => {
  for (const code of [CODES.left, CODES.replaced, CODES.kicked, CODES.tokenExpired]) {
    assert.equal(mayReconnect(code), false, `${code}`);
  }
  assert.ok(mayReconnect(undefined) && mayReconnect(CODES.shuttingDown));
  assert.ok(mayReconnect(999), "a code of a later version");
  assert.equal(mayReturnAfter({ kind: "byServer", number: 44, text: "" }), false);
  assert.ok(mayReturnAfter({ kind: "lost", text: "" }));
  assert.equal(retryDelay(refused(CODES.roomFull)), undefined);
  assert.equal(retryDelay(refused(CODES.roomFull, [], 7)), 7);
  assert.equal(retryDelay(LOST), 0);
  assert.ok(isAboutToken(refused(CODES.tokenAudience)) && !isAboutToken(LOST));
});

test("entries and the first server take turns", () => {
  const servers = new ReturnServers("home:1", ["a:1", "home:1"]);
  const tried = Array.from({ length: 4 }, () => servers.nextServer());
  assert.deepEqual(tried, ["a:1", "home:1", "a:1", "home:1"]);
});

test("a move is followed at once and three times at most", () => {
  const servers = new ReturnServers("home:1", []);
  for (let n = 0; n < MAX_MOVES; n += 1) {
    assert.equal(servers.failed(refused(CODES.moved, ["b:1"])), "atOnce");
    assert.equal(servers.nextServer(), "b:1");
  }
  assert.equal(servers.failed(refused(CODES.moved, ["b:1"])), "never");
  assert.equal(servers.joined([]).failed(refused(CODES.moved, ["c:1"])), "atOnce");
});

test("moves count only in a row", () => {
  const servers = new ReturnServers("home:1", []);
  for (let n = 0; n < 3 * MAX_MOVES; n += 1) {
    assert.equal(servers.failed(refused(CODES.moved, ["b:1"])), "atOnce");
    assert.equal(servers.nextServer(), "b:1");
    assert.equal(servers.failed(LOST), 0);
    assert.equal(servers.nextServer(), "home:1");
  }
});

test("a client that was moved comes back to the new server", () => {
  const servers = new ReturnServers("old:1", []);
  servers.failed(refused(CODES.moved, ["new:1"]));
  assert.equal(servers.nextServer(), "new:1");
  assert.equal(servers.joined([]).nextServer(), "new:1");
});

test("other servers are tried after the pause, and a refusal for good names nobody", () => {
  const servers = new ReturnServers("home:1", []);
  assert.equal(servers.failed(refused(CODES.serverFull, ["b:1", "c:1"], 2_000)), 2_000);
  const tried = Array.from({ length: 3 }, () => servers.nextServer());
  assert.deepEqual(tried, ["b:1", "c:1", "home:1"]);
  assert.equal(servers.failed(refused(CODES.tokenExpired, ["b:1"])), "never");
  assert.equal(servers.failed(refused(CODES.moved)), "never");
});

test("the first join follows named servers for a while, and tells the first reason", () => {
  const tries = new Tries("home:1");
  assert.deepEqual(tries.next(0, 0), { kind: "join", server: "home:1" });
  tries.failed(0, refused(CODES.moved, ["b:1", "c:1"]));
  assert.deepEqual(tries.next(0, 0), { kind: "join", server: "b:1" });
  const full = refused(CODES.roomFull);
  tries.failed(1, full);
  assert.deepEqual(tries.next(1, 0), { kind: "join", server: "c:1" });
  tries.failed(2, LOST);
  assert.deepEqual(tries.next(2, 0), { kind: "giveUp", error: full });
  const late = new Tries("home:1");
  late.failed(0, refused(CODES.moved, ["b:1"]));
  assert.equal(late.next(30_000, 0).kind, "giveUp");
});

test("a return ends with the patience, and its last try has time", () => {
  const tries = new Tries("home:1");
  tries.joined([]);
  tries.beginReturn(0, 10_000, LOST);
  let now = 0;
  const joins: number[] = [];
  for (let step = tries.next(now, 0); step.kind !== "giveUp"; step = tries.next(now, 0)) {
    if (step.kind === "pause") {
      now += step.ms;
    } else {
      joins.push(now);
      now += 100;
      tries.failed(now, LOST);
    }
  }
  assert.ok(joins.length >= 4 && joins.every((at) => at < 9_500), `${joins}`);
  assert.ok(now <= 10_000);
  tries.extend(5_000);
  assert.equal(tries.deadline(), 15_000);
});
