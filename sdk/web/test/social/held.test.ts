// What a hostile or broken server can make a social client hold. The same as
// client/core/src/social/tests.rs.

import assert from "node:assert/strict";
import { test } from "node:test";

import { utf8 } from "../../src/wire/codec.js";
import { MAX_NAME } from "../../src/wire/limits.js";
import { RoomList } from "../../src/wire/rooms.js";
import * as wire from "../../src/wire/social.js";
import { VALUE_BYTES } from "../../src/wire/value.js";
import { Pair } from "./server.js";

/** A client that watches users and rooms. Its lists have the requests 1 and 2. */
function watching(): Pair {
  const pair = new Pair();
  pair.enter();
  pair.client.watchUsers(0, [], []);
  pair.client.watchRooms(0, "", []);
  pair.run();
  return pair;
}

/** Sends the `n`th list of 500 users with names of this length. */
function sendUsers(pair: Pair, n: number, length: number): void {
  const name = new Uint8Array(length).fill(110);
  const user = (number: number) => ({ user: utf8(`${n * 500 + number}`), name });
  const users = Array.from({ length: 500 }, (_, number) => user(number));
  pair.send(wire.UserList, { request: 1, users });
}

/** Sends the `n`th list of 500 rooms with a field of this length. */
function sendRooms(pair: Pair, n: number, length: number): void {
  const value = { kind: VALUE_BYTES, bytes: new Uint8Array(length) };
  const fields = [{ key: utf8("k"), value }];
  const room = (number: number) => ({ room: utf8(`${n * 500 + number}`), fields });
  const rooms = Array.from({ length: 500 }, (_, number) => room(number));
  pair.send(RoomList, { request: 2, rooms });
}

/** Returns how many lists the client takes from a server that sends them without end. */
function taken(send: (pair: Pair, n: number) => void): number {
  const pair = watching();
  for (let n = 0; n < 200; n += 1) {
    send(pair, n);
    if (pair.client.session.isClosed()) {
      return n;
    }
    pair.events();
  }
  return Infinity;
}

test("lists of users and rooms do not grow without end", () => {
  assert.equal(taken((pair, n) => sendUsers(pair, n, 20)), 32, "16,000 users");
  assert.equal(taken((pair, n) => sendRooms(pair, n, 20)), 16, "8,000 rooms");
  assert.equal(taken((pair, n) => sendUsers(pair, n, 3_000)), 4, "6.5 MB of names");
  assert.equal(taken((pair, n) => sendRooms(pair, n, 4_000)), 11, "24 MB of fields");
});

test("a list that is replaced by a shorter one leaves room for others", () => {
  const pair = watching();
  for (let n = 0; n < 100; n += 1) {
    const users = [{ user: utf8(`${n}`), name: new Uint8Array(1_000_000).fill(110) }];
    pair.send(wire.UserList, { request: 1, whole: 1, users });
    pair.events();
  }
  assert.equal(pair.client.users().length, 1);
});

test("the texts of waiting events count", () => {
  const pair = watching();
  let read = 0;
  while (!pair.client.isBehind) {
    assert.ok(read < 100, "the client reads without end");
    sendUsers(pair, 0, 1_000);
    read += 1;
  }
  assert.equal(read, 2, "1 MiB");
  const ringing = watching();
  const text = new Uint8Array(100_000).fill(116);
  for (let sent = 0; sent < 11; sent += 1) {
    assert.ok(!ringing.client.isBehind);
    ringing.send(wire.CallUpdate, { call: 7n, kind: wire.CALL_INCOMING, text });
  }
  assert.ok(ringing.client.isBehind);
});

test("a full list of users does not stop the reading", () => {
  const pair = watching();
  [0, 1].forEach((n) => sendUsers(pair, n, 3 * MAX_NAME));
  assert.ok(!pair.client.isBehind);
});
