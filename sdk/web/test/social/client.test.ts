// A social client with a model of its server: sessions, requests, lists, calls and faults.

import assert from "node:assert/strict";
import { test } from "node:test";

import { NucleusError } from "../../src/session/error.js";
import { tokenOf } from "../session/model.js";
import { utf8 } from "../../src/wire/codec.js";
import { Ping } from "../../src/wire/handshake.js";
import { EventDown, Leave } from "../../src/wire/messages.js";
import { Throttled } from "../../src/wire/messaging.js";
import { RoomList, WatchRooms } from "../../src/wire/rooms.js";
import * as wire from "../../src/wire/social.js";
import { only, Pair } from "./server.js";

function kinds(pair: Pair): string[] {
  return pair.events().map(({ kind }) => kind);
}

/** Returns the code of what a function throws. */
function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof NucleusError, String(error));
    return error.code;
  }
  return "nothing";
}

function user(name: string, status = 1) {
  return { user: utf8(name), name: utf8(name.toUpperCase()), role: utf8("expert"), status };
}

/** A client in a session, whose calls are those of the protocol's number 7. */
function entered(): Pair {
  const pair = new Pair();
  pair.enter({ user: utf8("ada"), ringMs: 30_000 });
  return pair;
}

/** Sends a request about a call, and its reply with this code. */
function ask(pair: Pair, act: number, code: number): number {
  const { client } = pair;
  const request =
    act === wire.CALL_START
      ? client.start(pair.now, ["bob"], "")
      : client.act(pair.now, 7n, act, act === wire.CALL_ADD ? "eve" : undefined);
  const sent = only(wire.CallRequest, pair.run());
  assert.deepEqual([sent.request, sent.act], [request, act]);
  pair.send(wire.CallReply, { request, code, call: code === 0 ? 7n : 0n });
  return request;
}

test("it enters with its token and status, and asks again for what it watched", () => {
  const pair = new Pair();
  const first = pair.enter({ ringMs: 5 });
  const enter = only(wire.Enter, first);
  assert.deepEqual([enter.token, enter.status], [utf8("t"), 1]);
  assert.equal(pair.client.entered?.ringMs, 5);
  assert.deepEqual(pair.events(), [], "the first session is no return");

  pair.client.watchUsers(0, ["expert"], ["bob"]);
  pair.client.watchRooms(0, "1", [{ key: "map", oneOf: ["yard", 3n] }]);
  pair.client.setStatus(0, "busy");
  const asked = pair.run();
  const users = only(wire.WatchUsers, asked);
  const rooms = only(WatchRooms, asked);
  assert.deepEqual([users.roles, users.users], [[utf8("expert")], [utf8("bob")]]);
  assert.deepEqual([rooms.version, rooms.filters[0]?.values.length], [utf8("1"), 2]);
  assert.equal(only(wire.SetStatus, asked).status, 2);

  pair.lose();
  assert.deepEqual(kinds(pair), ["interrupted"]);
  const again = [...pair.pass(0), ...pair.enter()];
  assert.equal(only(wire.Enter, again).status, 2, "the newest status");
  assert.deepEqual(only(wire.WatchUsers, again), users);
  assert.deepEqual(only(WatchRooms, again), rooms);
  assert.equal(again.filter(({ schema }) => schema === wire.SetStatus).length, 0);
  assert.deepEqual([kinds(pair), pair.connects], [["returned"], 2]);
});

test("a silent client keeps its session alive", () => {
  const pair = entered();
  const pings = (ms: number): number =>
    pair.pass(ms).filter(({ schema }) => schema === Ping).length;
  assert.equal(pings(14_999), 1, "at least every 15 s");
  const inAMinute = pings(60_000);
  assert.ok(inAMinute >= 4 && inAMinute <= 8, `${inAMinute} pings in a minute`);
  pair.lose();
  pair.run();
  assert.equal(pair.pass(4_000).filter(({ schema }) => schema === Ping).length, 0);
});

test("a call is known until it is over for this device", () => {
  const pair = entered();
  pair.send(wire.CallUpdate, { call: 7n, kind: wire.CALL_INCOMING, user: utf8("bob") });
  const refused = ask(pair, wire.CALL_ACCEPT, 75);
  const result = pair.client.takeResult(refused);
  assert.ok(result instanceof NucleusError && result.code === "answered");
  const request = ask(pair, wire.CALL_START, 0);
  assert.equal(pair.client.takeResult(request), 7n);
  assert.equal(pair.client.takeResult(request), undefined, "one result");
  const members = [utf8("ada"), utf8("bob")];
  pair.send(wire.CallUpdate, { call: 7n, kind: wire.CALL_ACCEPTED, room: utf8("r"), members });
  ask(pair, wire.CALL_ADD, 0);
  ask(pair, wire.CALL_HANG_UP, 0);
  assert.deepEqual(pair.events(), [
    { kind: "incoming", call: 7n, from: "bob", name: "", text: "" },
    { kind: "accepted", call: 7n, room: "r", members: ["ada", "bob"], thisDevice: true },
  ]);
  assert.ok(pair.client.isOwnCall(7n) && !pair.client.isOwnCall(8n));
  // The call is over for this device: its end while the session is lost is not reported.
  pair.lose();
  pair.pass(0);
  pair.enter({ call: 0n });
  assert.deepEqual(kinds(pair), ["interrupted", "returned"]);
});

test("a call that ended while the session was lost is reported, once", () => {
  for (const [kind, told] of [
    [wire.CALL_INCOMING, "ringingEnded"],
    [wire.CALL_CALLING, "ended"],
  ] as const) {
    const pair = entered();
    pair.send(wire.CallUpdate, { call: 7n, kind });
    pair.lose();
    pair.pass(0);
    pair.enter({ call: 0n });
    const events = pair.events().slice(1);
    assert.deepEqual(events, [
      { kind: "interrupted", code: undefined, text: "gone" },
      { kind: "returned" },
      { kind: told, call: 7n, code: undefined },
    ]);
  }
});

test("a call is this device's also where the answer was lost", () => {
  const first = entered();
  const request = first.client.start(0, ["bob"], "hi");
  first.run();
  first.lose();
  const result = first.client.takeResult(request);
  assert.ok(result instanceof NucleusError && result.code === "interrupted");
  first.pass(0);
  first.enter({ call: 7n });
  first.send(wire.CallUpdate, { call: 7n, kind: wire.CALL_CALLING });
  first.send(wire.CallUpdate, { call: 7n, kind: wire.CALL_ACCEPTED });
  const accepted = first.events().at(-1);
  assert.ok(accepted?.kind === "accepted" && accepted.thisDevice);

  // The accept never arrived: the call still rings, and another device accepts it.
  const second = entered();
  second.send(wire.CallUpdate, { call: 7n, kind: wire.CALL_INCOMING });
  second.client.act(0, 7n, wire.CALL_ACCEPT);
  second.run();
  second.lose();
  second.pass(0);
  second.enter({ call: 7n });
  second.send(wire.CallUpdate, { call: 7n, kind: wire.CALL_INCOMING });
  second.send(wire.CallUpdate, { call: 7n, kind: wire.CALL_ACCEPTED });
  const [ended, other] = second.events().slice(-2);
  assert.deepEqual(ended, { kind: "ringingEnded", call: 7n, code: "answered" });
  assert.ok(other?.kind === "accepted" && !other.thisDevice);
});

test("a call that never began is not taken for another device's", () => {
  const pair = entered();
  pair.client.start(0, ["bob"], "");
  pair.run();
  pair.lose();
  pair.pass(0);
  pair.enter({ call: 0n });
  pair.send(wire.CallUpdate, { call: 9n, kind: wire.CALL_CALLING });
  pair.send(wire.CallUpdate, { call: 9n, kind: wire.CALL_ACCEPTED });
  const accepted = pair.events().at(-1);
  assert.ok(accepted?.kind === "accepted" && !accepted.thisDevice);
});

test("what this device has done counts though nobody waits for the answer", () => {
  const pair = entered();
  const request = pair.client.act(0, 7n, wire.CALL_ACCEPT);
  pair.client.forget(request);
  pair.send(wire.CallReply, { request, call: 7n });
  assert.ok(pair.client.isOwnCall(7n));
  assert.equal(pair.client.takeResult(request), undefined);
});

test("every kind of a call's update becomes an event, and unknown ones none", () => {
  const pair = entered();
  for (const kind of [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 255]) {
    pair.send(wire.CallUpdate, { call: 7n, kind, user: utf8("u"), code: kind === 7 ? 9_999 : 73 });
  }
  const events = pair.events();
  assert.deepEqual(
    events.map(({ kind }) => kind),
    [
      "incoming",
      "ringingEnded",
      "calling",
      "accepted",
      "memberJoined",
      "memberLeft",
      "passed",
      "ended",
    ],
  );
  assert.deepEqual(events[5], { kind: "memberLeft", call: 7n, user: "u", code: "declined" });
  assert.deepEqual(events[6], { kind: "passed", call: 7n, user: "u", code: undefined });
});

test("lists of users and their changes add up", () => {
  const pair = entered();
  const old = pair.client.watchUsers(0, [], []);
  const request = pair.client.watchUsers(0, [], []);
  pair.send(wire.UserList, { request: old, whole: 1, users: [user("x")] });
  assert.deepEqual(pair.events(), [], "the list of an earlier request");
  pair.send(wire.UserList, { request, whole: 1, users: [user("b"), user("a")], total: 2 });
  assert.equal(pair.client.takeResult(request), 0n);
  assert.deepEqual(pair.client.users().map(({ user }) => user), ["a", "b"]);
  // A user that has gone and come again is not gone.
  const gone = [utf8("a"), utf8("b")];
  pair.send(wire.UserList, { request, users: [user("a", 2), user("c", 77)], gone, total: 2 });
  const [, change] = pair.events();
  assert.deepEqual(change, {
    kind: "users",
    changed: [
      { user: "a", name: "A", role: "expert", status: "busy" },
      { user: "c", name: "C", role: "expert", status: "away" },
    ],
    gone: ["b"],
    total: 2,
  });
  pair.send(wire.UserList, { request, whole: 1, users: [user("c")], total: 1 });
  const whole = pair.events()[0];
  assert.ok(whole?.kind === "users" && whole.gone.join() === "a");

  const refused = pair.client.watchUsers(0, [], []);
  pair.send(wire.UserList, { request: refused, code: 60 });
  const result = pair.client.takeResult(refused);
  assert.ok(result instanceof NucleusError && result.code === "forbidden");
});

test("lists of rooms and their changes add up", () => {
  const pair = entered();
  const request = pair.client.watchRooms(0, "", []);
  const room = (name: string, peers: number, fields: object[] = []) =>
    ({ room: utf8(name), peers, capacity: 9, flags: 2, fields }) as never;
  const value = { kind: 2, bits: 5n };
  const fields = [
    { key: utf8("level"), value },
    { key: utf8("later"), value: { kind: 99 } },
  ];
  pair.send(RoomList, { request, whole: 1, rooms: [room("b", 2), room("a", 1, fields)], total: 7 });
  assert.deepEqual(pair.client.rooms()[0], {
    name: "a",
    peers: 1,
    capacity: 9,
    locked: false,
    password: true,
    fields: new Map([["level", 5n]]),
  });
  const gone = [utf8("a"), utf8("b")];
  pair.send(RoomList, { request, rooms: [room("b", 0), room("c", 3)], gone, total: 7 });
  pair.send(RoomList, { request, whole: 1, rooms: [room("c", 4)], total: 7 });
  assert.deepEqual(pair.events().slice(1), [
    { kind: "rooms", changed: ["b", "c"], gone: ["a"], total: 7 },
    { kind: "rooms", changed: ["c"], gone: ["b"], total: 7 },
  ]);
  assert.deepEqual(pair.client.rooms().map(({ name, peers }) => [name, peers]), [["c", 4]]);
});

test("a list that grows without end ends the session", () => {
  const pair = entered();
  const request = pair.client.watchUsers(0, [], []);
  for (let round = 0; round < 20 && pair.closes.length === 0; round += 1) {
    const users = Array.from({ length: 1_000 }, (_, i) => user(`${round}.${i}`));
    pair.send(wire.UserList, { request, users });
    pair.run();
    pair.events();
  }
  assert.deepEqual([pair.closes, pair.client.isClosed], [[2], true]);
});

test("what breaks a limit is not sent", () => {
  const pair = entered();
  const { client } = pair;
  const names = (count: number) => Array<string>(count).fill("x");
  const attempts: (() => unknown)[] = [
    () => client.start(0, [], ""),
    () => client.start(0, names(17), ""),
    () => client.start(0, ["bob"], "ü".repeat(129)),
    () => client.start(0, [""], ""),
    () => client.act(0, 7n, wire.CALL_ADD, "x".repeat(129)),
    () => client.watchUsers(0, names(40), names(25)),
    () => client.watchRooms(0, "x".repeat(33), []),
    () => client.watchRooms(0, "", Array(9).fill({ key: "k", oneOf: [1n] })),
  ];
  attempts.forEach((attempt, i) => assert.equal(codeOf(attempt), "invalidOptions", `${i}`));
  assert.deepEqual(pair.run(), []);

  for (let request = 0; request < 16; request += 1) {
    client.watchUsers(0, [], []);
  }
  assert.equal(codeOf(() => client.watchUsers(0, [], [])), "tooMany");
  pair.run();
  pair.lose();
  assert.equal(codeOf(() => client.start(0, ["bob"], "")), "notConnected");
});

test("an application that takes no events stops the reading, and its callers know", () => {
  const pair = entered();
  const request = pair.client.act(0, 7n, wire.CALL_HANG_UP);
  const listed = pair.client.watchUsers(0, [], []);
  for (let i = 0; i < 5_000; i += 1) {
    pair.send(wire.UserList, { request: listed, users: [user("a")] });
  }
  assert.ok(pair.client.isBehind && !pair.client.session.wants("control"));
  const result = pair.client.takeResult(request);
  assert.ok(result instanceof NucleusError && result.code === "interrupted");
  assert.equal(codeOf(() => pair.client.start(0, ["bob"], "")), "behind");
  assert.equal(pair.events().length, 5_000, "what had arrived is handed on");
  assert.ok(!pair.client.isBehind && pair.client.session.wants("control"));
  pair.send(wire.CallReply, { request, call: 7n });
  assert.equal(pair.client.takeResult(request), undefined, "one result");
});

test("a server that breaks the protocol ends the session with the code 2", () => {
  const faults: ((pair: Pair) => void)[] = [
    (pair) => pair.send(EventDown, {}),
    (pair) => pair.send(Throttled, { what: 1 }),
    (pair) => pair.send(wire.Entered, {}),
    (pair) => {
      const bytes = new Uint8Array(20).fill(0xff);
      pair.client.handle(0, { kind: "bytes", source: "control", bytes });
    },
    (pair) => {
      // A list of users whose body is too short.
      const bytes = Uint8Array.of(3, 0, 0, 0, 1, 74, 0, 1, 0, 0, 0);
      pair.client.handle(0, { kind: "bytes", source: "control", bytes });
    },
  ];
  faults.forEach((fault, i) => {
    const pair = entered();
    fault(pair);
    pair.run();
    const event = pair.events().at(-1);
    assert.ok(event?.kind === "closed" && event.code === "malformed", `fault ${i}`);
    assert.deepEqual(pair.closes, [2], `fault ${i}`);
    assert.equal(pair.pass(600_000).length, 0, "it does not come back");
  });
});

test("it leaves, and is closed when the server confirms or after a second", () => {
  const pair = entered();
  pair.client.leave(0);
  only(Leave, pair.run());
  assert.equal(codeOf(() => pair.client.start(0, ["bob"], "")), "closed");
  pair.client.handle(0, { kind: "closed", end: { kind: "byServer", number: 0, text: "left" } });
  assert.deepEqual(pair.events(), [{ kind: "closed", code: "left", text: "left" }]);

  const silent = entered();
  silent.client.leave(0);
  silent.pass(1_000);
  assert.deepEqual([kinds(silent), silent.closes], [["closed"], [4]]);
});

test("a fresh token is asked for when a return is refused", () => {
  const pair = new Pair({ hasTokenProvider: true });
  pair.enter();
  pair.lose();
  pair.pass(0);
  pair.run();
  const refuse = Uint8Array.of(13, 0, 0, 0, 0, 3, 0, 1, 13, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0);
  pair.client.handle(0, { kind: "bytes", source: "control", bytes: refuse });
  pair.run();
  assert.equal(pair.tokensWanted, 1);
  const fresh = tokenOf([]);
  pair.client.takeToken(0, fresh);
  const again = pair.enter();
  assert.deepEqual(only(wire.Enter, again).token, utf8(fresh));
  assert.deepEqual(kinds(pair), ["interrupted", "returned"]);
});
