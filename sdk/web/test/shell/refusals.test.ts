// What a person reads when the server refuses a request of a room.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import type { Room } from "../../src/room.js";
import { NucleusError, refusal } from "../../src/session/error.js";
import { Batch } from "../../src/state/batch.js";
import { type CodeName, CODES } from "../../src/wire/code.js";
import { StateReply } from "../../src/wire/state.js";
import { FakeCarrier, join, settle } from "./fake.js";

/** Lets a fake server refuse a request, and returns the error. */
async function refused(ask: (room: Room) => Promise<unknown>, code: number, failed = 0) {
  const carrier = new FakeCarrier();
  const room = await join(carrier);
  const asked = ask(room).then(
    () => assert.fail("the request succeeded"),
    (error: unknown) => error,
  );
  await settle();
  carrier.newest.say(StateReply, { request: 1, code, failed, version: 0n });
  const error = await asked;
  room.close();
  assert.ok(error instanceof NucleusError);
  return error;
}

const { forbidden, noSuchEntity, conflict, actRate, badState } = CODES;

test("a refused act says which act, and which right it needs", async () => {
  const needed =
    /needs the right to moderate: the role "host" .* "moderate" in its token, or a hand-over\.$/;
  const acts: [(room: Room) => Promise<unknown>, string][] = [
    [(room) => room.kick(2), "kick a peer"],
    [(room) => room.mutePeer(2, true), "mute a peer"],
    [(room) => room.mutePeer(2, false), "unmute a peer"],
    [(room) => room.muteAll(true), "mute all peers"],
    [(room) => room.muteAll(false), "unmute all peers"],
    [(room) => room.lock(true), "lock the room"],
    [(room) => room.lock(false), "unlock the room"],
    [(room) => room.hide(true), "hide the room"],
    [(room) => room.clear(), "clear the room"],
    [(room) => room.handOver(2), "hand over the moderation"],
    [(room) => room.end(), "end the room"],
  ];
  for (const [act, words] of acts) {
    const { code, message } = await refused(act, forbidden);
    assert.equal(code, "forbidden");
    assert.ok(message.includes(`to ${words}, this client needs`), message);
    assert.match(message, needed);
    assert.doesNotMatch(message, /operation/);
  }
  for (const [muted, words] of [[true, "mute itself"], [false, "unmute itself"]] as const) {
    const { message } = await refused((room) => room.setMuted(muted), forbidden);
    const own = `to ${words}, this client needs a role other than "observer" in its token.`;
    assert.ok(message.endsWith(own), message);
  }
  const gone = await refused((room) => room.kick(9), noSuchEntity);
  assert.match(gone.message, /cannot kick a peer: there is no such peer/);
  const fast = await refused((room) => room.kick(2), actRate);
  assert.match(fast.message, /cannot kick a peer: the moderators of the room act too fast/);
});

test("a refused change says which operation, and which right it needs", async () => {
  const object = 7n as never;
  const changes: [Batch, RegExp][] = [
    [new Batch().set("room", "topic", "x"), /^[^:]*: to set the field "topic" of the room, .*"state.room"/],
    [new Batch().remove("room", "topic"), /to remove the field "topic" of the room/],
    [new Batch().set({ peer: 2 }, "hat", "x"), /the field "hat" of a peer, .*right to moderate/],
    [new Batch().set({ peer: 1 }, "hat", "x"), /the field "hat" of a peer, .*other than "observer"/],
    [new Batch().set({ object }, "a", "x"), /the field "a" of an object, .*"state.objects"/],
    [new Batch().create(object, { ownership: "take" }), /to create an object, .*"state.objects"/],
    [new Batch().delete(object), /to delete an object, .*"state.objects"/],
    [new Batch().claim(object), /to claim an object, .*"state.objects"/],
    [new Batch().give(object, 2), /to give an object away, .*"state.objects"/],
    [new Batch().host(2), /to choose the host, .*right to moderate/],
  ];
  for (const [batch, words] of changes) {
    const error = await refused((room) => room.change(batch), forbidden);
    assert.match(error.message, words);
    assert.doesNotMatch(error.message, /operation/);
    assert.equal(error.operation, 0);
  }
  const two = new Batch().claim(object).set({ object }, "a", 1n);
  const second = await refused((room) => room.change(two), conflict, 1);
  assert.match(second.message, /cannot set the field "a" of an object \(operation 2 of 2\): the field/);
  assert.equal(second.operation, 1);
  const odd = await refused((room) => room.change(two), badState, 40);
  assert.match(odd.message, /cannot change the state: /);
});

test("an object that exists is no missing one", async () => {
  const object = 7n as never;
  const batch = new Batch().create(object, { ownership: "take" }).set({ object }, "a", 1n);
  const exists = await refused((room) => room.change(batch), noSuchEntity);
  assert.equal(
    exists.message,
    "the server refused (noSuchEntity): cannot create an object (operation 1 of 2): " +
      "there is already an object with this id.",
  );
  const gone = await refused((room) => room.change(batch), noSuchEntity, 1);
  assert.match(gone.message, /\(operation 2 of 2\): there is no such peer, object or call\.$/);
});

/** Returns the groups of all matches in a file of the repository. */
function matches(file: string, pattern: RegExp): string[][] {
  const text = readFileSync(new URL(`../../../../../${file}`, import.meta.url), "utf8");
  return [...text.matchAll(pattern)].map((match) => match.slice(1));
}

/** Returns a name of Rust as it is in TypeScript. */
function camel(name: string): string {
  return name.charAt(0).toLowerCase() + name.slice(1);
}

test("the codes are those of the protocol, and each begins with the words of the Rust client", () => {
  const codes = matches("protocol/src/session/code.rs", /^ {4}(\w+) = (\d+), "\w+";$/gm);
  const ours = Object.entries(CODES).map(([name, number]) => [name, `${number}`]);
  assert.deepEqual(ours, codes.map(([name = "", number]) => [camel(name), number]));
  const words = matches("client/core/src/refusal.rs", /^ {8}(Code::[\w: |]+) => "([^"]+)",$/gm);
  let compared = 0;
  for (const [names = "", text = ""] of words.filter(([, text]) => !text?.startsWith(" "))) {
    for (const name of names.split(" | ")) {
      const number = CODES[camel(name.replace("Code::", "")) as CodeName];
      assert.equal(refusal(number, "").message.split("): ")[1]?.startsWith(`${text}.`), true, name);
      compared += 1;
    }
  }
  assert.equal(compared, ours.length);
});

test("a code without a text has words", () => {
  assert.match(refusal(CODES.busy, "").message, /\(busy\): the user is in a call, or wants none\./);
  assert.match(refusal(9_999, "").message, /\(code 9999\): no reason given\./);
  assert.throws(() => new Batch().set("room", "", 1n), /^NucleusError: operation 1 of the batch: a key/);
});
