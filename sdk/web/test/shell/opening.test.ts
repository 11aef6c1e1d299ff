// How a room is joined, and how the calls of an application end that cannot succeed.

import assert from "node:assert/strict";
import { test } from "node:test";

import { addressOf } from "../../src/session/address.js";
import { NucleusError } from "../../src/session/error.js";
import { enter } from "../../src/social.js";
import { Joined, RosterUpdate } from "../../src/wire/messages.js";
import { TokenWanted } from "../../src/wire/messaging.js";
import { encodeMessage, type Schema } from "../../src/wire/schema.js";
import { Entered } from "../../src/wire/social.js";
import { FakeCarrier, join, joinedMessage, settle, TOKEN } from "./fake.js";

/** Texts that a person may take for the address of a server. */
const NO_ADDRESSES = [
  ...["", " ", "foo bar", "foo\tbar", "foo\nbar", "a,b", "a;b", "<a>", "a|b", "a^b", "\0"],
  ...["http://", "https://", "http://example.com", "https://example.com:5055/", "wss://a", "//a"],
  ...["example.com/", "example.com/nucleus", "example.com?x", "example.com#x", "a\\b"],
  ...["ada@example.com", "ada:secret@example.com:5055", "ex%61mple.com", "%"],
  ...[":", ":5055", "host:", "host:port", "host:0", "host:65536", "host:99999", "host:-1"],
  ...["host:+1", "host:1.5", "host:1e3", "host:0x10", "host: 5055", "host :5055", "host:5055 x"],
  ...["host:555555", "a:b:c", "1:2", "5055", "127.1", "0x7f000001", "256.1.1.1", "1.2.3.4.5"],
  ...["[", "]", "[]", "[]:1", "[::1", "::1]", "[::1]x", "[::1]:", "[::1]:0", "[::1]:99999", "[x]:1"],
  ...[":::", "1::2::3", "12345::", "[1.2.3.4]", "[fe80::1%eth0]:1", "fe80::1%eth0", "[[::1]]:1"],
  ...[".", "..", ".a", "a..b", "xn--", "\u200b", "a\u2028b", "a\u3000b"],
  ...["a".repeat(254), "a".repeat(300), `${"a.".repeat(130)}b`, "x".repeat(100_000)],
];

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
  await assert.rejects(enter({ server: "server:1", token: TOKEN, carrier }), wrong);
});

test("the error of a token provider reaches the application", async () => {
  const cause = new Error("401 from the backend");
  const fails = () => Promise.reject(cause);
  const error = await join(new FakeCarrier(), { token: fails }).catch((error: unknown) => error);
  assert.ok(error instanceof NucleusError);
  assert.equal(error.code, "noToken");
  assert.equal(error.cause, cause);
  await assert.rejects(join(new FakeCarrier(), { token: () => PAGE }), /at most 4,096 bytes/);
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
  const room = await join(carrier, { token: () => (asked++ === 0 ? TOKEN : PAGE) });
  const sent = carrier.newest.control.length;
  carrier.newest.say(TokenWanted, { withinS: 100 });
  await settle();
  assert.equal(asked, 2);
  await assert.rejects(room.renew(PAGE), { code: "invalidArgument" });
  for (const text of [" ", "token", "a.b.c"]) {
    await assert.rejects(room.renew(text), { code: "invalidArgument" });
  }
  await settle();
  assert.equal(carrier.newest.control.length, sent);
  room.close();
});

test("a text that cannot be a token is refused before the first packet", async () => {
  const carrier = new FakeCarrier();
  const part = (text: string) => Buffer.from(text).toString("base64url");
  const problems: [string, RegExp][] = [
    ["", /is empty/],
    ["  \n", /is empty/],
    ["token", /three parts/],
    ["ada.token", /three parts/],
    [`${TOKEN}.more`, /three parts/],
    [TOKEN.slice(0, TOKEN.lastIndexOf(".")), /three parts/],
    [TOKEN.slice(0, TOKEN.lastIndexOf(".") + 1), /three parts/],
    [`${TOKEN}=`, /three parts/],
    [TOKEN.replace("c2ln", "c2 ln"), /three parts/],
    ["example.com.au", /JSON objects/],
    [`e30.${part("no JSON")}.c2ln`, /JSON objects/],
    [`e30.${part("[1]")}.c2ln`, /JSON objects/],
    [`e30.${part("null")}.c2ln`, /JSON objects/],
    [`.${part("{}")}.c2ln`, /JSON objects/],
    [`Bearer ${TOKEN}`, /JSON objects/],
    ["x".repeat(4_097), /at most 4,096 bytes/],
  ];
  for (const [token, message] of problems) {
    const wrong = (error: NucleusError) =>
      error.code === "invalidOptions" && message.test(error.message) && /Hand in/.test(error.message);
    await assert.rejects(join(carrier, { token }), wrong, token);
    await assert.rejects(enter({ server: "server:1", token, carrier }), wrong, token);
    await assert.rejects(join(carrier, { token: () => token }), { code: "noToken" }, token);
  }
  const none = undefined as unknown as string;
  await assert.rejects(join(carrier, { token: none }), { code: "invalidOptions" });
  assert.equal(carrier.connections.length, 0);
  (await join(carrier, { token: `\ufeff${TOKEN}\r\n` })).close();
});

test("a server that is no address is refused before the first packet", async () => {
  const carrier = new FakeCarrier();
  let asked = 0;
  const token = () => ((asked += 1), TOKEN);
  for (const server of NO_ADDRESSES) {
    const options = { server, token, carrier };
    const wrong = (error: NucleusError) =>
      error.code === "invalidOptions" && /Write host:port/.test(error.message);
    await assert.rejects(join(carrier, options), wrong, server);
    await assert.rejects(enter(options), wrong, server);
  }
  const none = undefined as unknown as string;
  await assert.rejects(join(carrier, { server: none }), { code: "invalidOptions" });
  assert.deepEqual([carrier.connections.length, asked], [0, 0]);
});

test("an address is dialled with its port", () => {
  const addresses = {
    "example.com": "example.com:5055",
    " Example.COM:443 ": "example.com:443",
    "example.com.:1": "example.com.:1",
    "under_score-1:65535": "under_score-1:65535",
    localhost: "localhost:5055",
    "127.0.0.1:5055": "127.0.0.1:5055",
    "192.0.2.1": "192.0.2.1:5055",
    "::1": "[::1]:5055",
    "[::1]": "[::1]:5055",
    "[2001:DB8::1]:443": "[2001:db8::1]:443",
    "2001:db8::1": "[2001:db8::1]:5055",
    "bücher.example": "xn--bcher-kva.example:5055",
    "[::ffff:192.0.2.1]:7": "[::ffff:c000:201]:7",
  };
  for (const [text, address] of Object.entries(addresses)) {
    assert.equal(addressOf(text), address, text);
  }
  NO_ADDRESSES.forEach((text) => assert.equal(addressOf(text), undefined, text));
});

/** Would catch a regular expression that tries all pairs of colons. */
test("a long text that is no address is refused at once", () => {
  const begin = performance.now();
  assert.equal(addressOf(`${":".repeat(200_000)}x`), undefined);
  assert.ok(performance.now() - begin < 1_000);
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
