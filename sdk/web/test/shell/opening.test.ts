// How a room is joined, and how the calls of an application end that cannot succeed.

import assert from "node:assert/strict";
import { test } from "node:test";

import { NucleusError } from "../../src/session/error.js";
import { enter } from "../../src/social.js";
import { Joined, RosterUpdate } from "../../src/wire/messages.js";
import { TokenWanted } from "../../src/wire/messaging.js";
import { encodeMessage, type Schema } from "../../src/wire/schema.js";
import { Entered } from "../../src/wire/social.js";
import { FakeCarrier, join, joinedMessage, settle } from "./fake.js";

/** What a backend answers that has failed. */
const PAGE = `<!doctype html>${"x".repeat(30_000)}`;

/** Returns a message whose body is garbage. */
function garbage(schema: Schema): Uint8Array {
  const message = encodeMessage(schema, {});
  return message.fill(0xff, 8);
}

test("a first answer that cannot be read is a protocol error", async () => {
  const wrong = { code: "protocolError" };
  await assert.rejects(join(new FakeCarrier({ answer: garbage(Joined) })), wrong);
  const carrier = new FakeCarrier({ answer: garbage(Entered) });
  await assert.rejects(enter({ server: "server:1", token: "token", carrier }), wrong);
});

test("the error of a token provider reaches the application", async () => {
  const cause = new Error("401 from the backend");
  const fails = () => Promise.reject(cause);
  const error = await join(new FakeCarrier(), { token: fails }).catch((error: unknown) => error);
  assert.ok(error instanceof NucleusError);
  assert.equal(error.code, "noToken");
  assert.equal(error.cause, cause);
  await assert.rejects(join(new FakeCarrier(), { token: () => PAGE }), /more than 4,096 bytes/);
  const timers: (() => void)[] = [];
  const clock = {
    now: () => 0,
    after: (_: number, end: () => void) => () => void timers.push(end),
  };
  clock.after = (_, end) => (timers.push(end), () => {});
  const never = join(new FakeCarrier(), { token: () => new Promise(() => {}), clock });
  await settle();
  timers.forEach((end) => end());
  await assert.rejects(never, /within 10 s/);
});

test("what cannot be a token is not sent", async () => {
  const carrier = new FakeCarrier();
  let asked = 0;
  const room = await join(carrier, { token: () => (asked++ === 0 ? "token" : PAGE) });
  const sent = carrier.newest.control.length;
  carrier.newest.say(TokenWanted, { withinS: 100 });
  await settle();
  assert.equal(asked, 2);
  await assert.rejects(room.renew(PAGE), { code: "invalidArgument" });
  await assert.rejects(room.renew(" "), { code: "invalidArgument" });
  await settle();
  assert.equal(carrier.newest.control.length, sent);
  room.close();
});

test("a signal ends a join and its connection", async () => {
  const carrier = new FakeCarrier({ holdsControl: true });
  const controller = new AbortController();
  const reason = new Error("the user has gone back");
  const joining = join(carrier, { signal: controller.signal });
  await settle();
  assert.equal(carrier.newest.closedWith, undefined);
  controller.abort(reason);
  await assert.rejects(joining, reason);
  // The connection stands, but its control stream never opens.
  assert.notEqual(carrier.newest.closedWith, undefined);
  const token = () => new Promise<string>(() => {});
  await assert.rejects(join(new FakeCarrier(), { token, signal: controller.signal }), reason);
});

test("a wait for an event that is given up takes none", async () => {
  const carrier = new FakeCarrier();
  const room = await join(carrier);
  const controller = new AbortController();
  const next = room.next({ signal: controller.signal });
  controller.abort(new Error("enough"));
  await assert.rejects(next, /enough/);
  carrier.newest.say(RosterUpdate, { version: 2, joined: [{ peer: 5, slot: 5 }] });
  await settle();
  assert.deepEqual(
    room.poll().map(({ kind }) => kind),
    ["peerJoined"],
  );
  room.close();
});

test("arguments outside their ranges are refused", async () => {
  const carrier = new FakeCarrier({ answer: joinedMessage() });
  await assert.rejects(join(carrier, { patienceMs: NaN }), { code: "invalidOptions" });
  const room = await join(carrier, { ticket: null });
  for (const banS of [NaN, -1, 86_401, 2 ** 32 + 1]) {
    await assert.rejects(room.kick(2, { banS }), { code: "invalidArgument" });
  }
  room.close();
});
