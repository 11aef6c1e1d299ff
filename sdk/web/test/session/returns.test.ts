// A client over lost sessions, sleeping tabs, restarts and renewed certificates, in simulated time.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { connect, type ConnectOptions, type Room, type RoomEvent } from "../../src/index.js";
import { CODES } from "../../src/wire/code.js";
import { PageClock, SimulatedClock } from "./clock.js";
import { ModelCarrier, ModelServer, pinOf, tokenOf } from "./model.js";

const SERVER = "server:5055";
const WEEK_MS = 7 * 86_400_000;

let clock: SimulatedClock;
let carrier: ModelCarrier;
let server: ModelServer;

beforeEach(() => {
  clock = new SimulatedClock();
  carrier = new ModelCarrier(clock);
  server = new ModelServer(clock);
  carrier.servers.set(SERVER, server);
});

/** Joins a room. Without a token the client has one that never expires. */
async function join(options: Partial<ConnectOptions> = {}): Promise<Room> {
  const token = tokenOf([server.pin]);
  const joining = connect({ server: SERVER, room: "lobby", token, carrier, clock, ...options });
  // A rejection is seen by whoever awaits the room.
  joining.catch(() => {});
  await clock.pass(1_000);
  return joining;
}

/** Takes all events that wait, but those about the quality of the connection. */
function events(room: Room): RoomEvent[] {
  return room.poll().filter((event) => event.kind !== "quality");
}

/** Takes the kinds of all events that wait. */
function kinds(room: Room): string[] {
  return events(room).map((event) => event.kind);
}

const bytes = (text: string) => new TextEncoder().encode(text);

test("the certificate is renewed each week, and the client comes back each time", async () => {
  // A development server's certificates: each serves for a week. Tokens name this week's and the
  // next week's, and are good for an hour.
  let asked = 0;
  const start = clock.now();
  const week = () => Math.floor((clock.now() - start) / WEEK_MS) + 1;
  const provider = () => {
    asked += 1;
    return tokenOf([pinOf(week()), pinOf(week() + 1)], clock.now() + 3_600_000);
  };
  const room = await join({ token: provider });
  for (let loss = 1; loss <= 3; loss += 1) {
    await clock.pass(WEEK_MS);
    server.pin = pinOf(week());
    // The connection is lost: by a restart of the server, or for another reason.
    const { me } = room;
    if (loss === 2) {
      server.kill();
      server.start();
    } else {
      server.only.session?.connection.lose("the network changed");
    }
    await clock.pass(10_000);
    const seen = kinds(room);
    assert.ok(seen.includes("interrupted"), `${seen}`);
    assert.ok(seen.includes(loss === 2 ? "rejoined" : "resumed"), `${seen}`);
    assert.equal(room.me === me, loss !== 2);
  }
  assert.ok(asked < 100, `the provider was asked ${asked} times`);
});

test("a client with old pins asks for a token, and not at each try", async () => {
  let asked = 0;
  let pin = server.pin;
  const provider = () => {
    asked += 1;
    return tokenOf([pin]);
  };
  const room = await join({ token: provider });
  server.pin = pinOf(9);
  server.only.session?.connection.lose("lost");
  await clock.pass(60_000);
  assert.deepEqual(kinds(room), ["interrupted"]);
  assert.ok(asked >= 5 && asked <= 14, `asked ${asked} times in a minute`);
  // The backend learns the new certificate. The next try may still have the old token.
  pin = server.pin;
  await clock.pass(20_000);
  assert.ok(room.poll().some(({ kind }) => kind === "rejoined" || kind === "resumed"));
});

test("a tab that sleeps for ten seconds goes on", async () => {
  const room = await join();
  const { me } = room;
  await clock.sleep(10_000);
  await clock.pass(60_000);
  assert.deepEqual(kinds(room), []);
  assert.equal(room.me, me);
  assert.equal(server.joins.length, 1);
});

test("a tab that sleeps for forty seconds comes back as itself, and has all events", async () => {
  const room = await join();
  const { me } = room;
  const participant = server.only;
  server.send(participant, bytes("one"));
  await clock.pass(100);
  await clock.sleep(40_000);
  server.send(participant, bytes("two"));
  await clock.pass(5_000);
  assert.deepEqual(kinds(room), ["event", "interrupted", "resumed", "event"]);
  assert.equal(room.me, me);
});

test("a tab that sleeps for ten minutes joins again", async () => {
  const room = await join();
  await clock.sleep(600_000);
  await clock.pass(5_000);
  assert.deepEqual(kinds(room).slice(0, 2), ["interrupted", "rejoined"]);
});

test("a tab that sleeps while it comes back does not give up", async () => {
  const room = await join();
  server.kill();
  await clock.pass(20_000);
  // Longer than the patience of two minutes.
  await clock.sleep(600_000);
  await clock.pass(5_000);
  assert.deepEqual(kinds(room), ["interrupted"]);
  server.start();
  await clock.pass(10_000);
  assert.ok(kinds(room).includes("rejoined"));
});

test("without a server the client gives up after its patience", async () => {
  const room = await join({ patienceMs: 30_000 });
  server.kill();
  await clock.pass(29_000);
  assert.deepEqual(kinds(room), ["interrupted"]);
  await clock.pass(5_000);
  assert.deepEqual(kinds(room), ["closed"]);
  const tries = carrier.dialled.length;
  await clock.pass(600_000);
  assert.equal(carrier.dialled.length, tries);
});

test("events that were sent before a loss arrive once, and in order", async () => {
  const room = await join();
  const participant = server.only;
  server.acknowledges = false;
  for (let n = 0; n < 5; n += 1) {
    await room.sendEvent("others", 1, bytes(`${n}`));
  }
  await clock.pass(100);
  participant.session?.connection.lose("lost");
  for (let n = 5; n < 10; n += 1) {
    await room.sendEvent("others", 1, bytes(`${n}`));
  }
  server.acknowledges = true;
  await clock.pass(5_000);
  assert.deepEqual(
    participant.events,
    Array.from({ length: 10 }, (_, n) => `${n}`),
  );
});

test("an expired token is renewed during a return", async () => {
  // The participant is gone and the server has forgotten the ticket, so that the token decides.
  let asked = 0;
  const provider = () => {
    asked += 1;
    return tokenOf([server.pin], clock.now() + 60_000);
  };
  const room = await join({ token: provider });
  await clock.pass(120_000);
  server.refusals.push({ code: CODES.tokenExpired });
  server.kill();
  server.start();
  await clock.pass(10_000);
  assert.ok(kinds(room).includes("rejoined"));
  assert.equal(asked, 2);
});

test("a provider that fails is asked again until it has a token", async () => {
  const answers: (() => Promise<string | undefined>)[] = [
    async () => tokenOf([server.pin]),
    async () => {
      throw new Error("the backend is down");
    },
    async () => undefined,
    // Never answers: counts as no token after 30 s.
    () => new Promise(() => {}),
    async () => tokenOf([server.pin]),
  ];
  const { length } = answers;
  const provider = () => answers.shift()?.();
  const room = await join({ token: provider });
  server.refusals = Array.from({ length: 20 }, () => ({ code: CODES.tokenExpired }));
  server.kill();
  server.start();
  for (let step = 0; step < 100 && answers.length > 0; step += 1) {
    await clock.pass(1_000);
  }
  assert.equal(answers.length, 0, `of ${length}`);
  server.refusals = [];
  await clock.pass(10_000);
  assert.ok(kinds(room).includes("rejoined"));
});

test("the first provider must give a token within ten seconds", async () => {
  const joining = join({ token: () => new Promise<undefined>(() => {}) });
  const rejected = assert.rejects(joining, { code: "noToken" });
  await clock.pass(11_000);
  await rejected;
});

test("a fresh token is handed in before the ticket ends", async () => {
  server.ticketTtlS = 1_000;
  let asked = 0;
  const provider = () => {
    asked += 1;
    return tokenOf([server.pin]);
  };
  await join({ token: provider });
  await clock.pass(740_000);
  assert.equal(asked, 1);
  await clock.pass(20_000);
  assert.equal(asked, 2);
  await clock.pass(1_000_000);
  assert.ok(asked >= 3);
});

test("an address of another server that is more than host and port is not dialled", async () => {
  const endpoints = ["host:1/path", "ada@host:1", "host:1?x", "ho st:1"];
  server.refusals.push({ code: CODES.moved, endpoints });
  await assert.rejects(join(), { code: "notReachable" });
  assert.deepEqual(carrier.dialled, [SERVER]);
});

test("a client is sent to another server, and comes back to it", async () => {
  const other = new ModelServer(clock);
  carrier.servers.set("other:1", other);
  server.refusals.push({ code: CODES.moved, endpoints: ["other:1"] });
  const room = await join();
  assert.deepEqual(carrier.dialled, [SERVER, "other:1"]);
  other.kill();
  other.start();
  await clock.pass(5_000);
  assert.ok(kinds(room).includes("rejoined"));
  assert.equal(carrier.dialled.at(-1), "other:1");
});

test("an application that takes nothing stops the reading, and loses nothing", async () => {
  const room = await join();
  const participant = server.only;
  for (let n = 0; n < 2_500; n += 1) {
    server.send(participant, bytes(`${n}`.padEnd(1_000)));
  }
  await clock.pass(1_000);
  const unread = carrier.newest?.unread ?? 0;
  assert.ok(unread > 250_000, `${unread} bytes wait at the carrier`);
  const seen: RoomEvent[] = [];
  for (let frame = 0; frame < 100; frame += 1) {
    seen.push(...room.poll());
    await clock.pass(16);
  }
  assert.equal(seen.length, 2_500);
  assert.equal(carrier.newest?.unread, 0);
});

test("a session without datagrams is kept alive by pings, and a leave is said", async () => {
  const room = await join();
  await clock.pass(600_000);
  assert.deepEqual(kinds(room), []);
  const left = room.leave();
  await clock.pass(2_000);
  await left;
  assert.deepEqual(
    events(room).map((event) => event.kind === "closed" && event.code),
    ["left"],
  );
  assert.equal(server.participants.size, 0);
  await assert.rejects(room.sendEvent("all", 1, bytes("x")), { code: "closed" });
});

test("an idle session with datagrams does little", async () => {
  carrier.maxDatagramSize = 1_154;
  const room = await join();
  await clock.pass(60_000);
  const { fired } = clock;
  const datagrams = carrier.newest?.datagrams ?? 0;
  await clock.pass(600_000);
  assert.deepEqual(kinds(room), []);
  const sent = (carrier.newest?.datagrams ?? 0) - datagrams;
  assert.ok(sent >= 60 && sent <= 200, `${sent} datagrams in ten minutes`);
  assert.ok(clock.fired - fired < 1_000, `${clock.fired - fired} timers in ten minutes`);
});

test("messages of one task travel in one datagram", async () => {
  carrier.maxDatagramSize = 1_154;
  const room = await join();
  await clock.pass(5_000);
  const datagrams = carrier.newest?.datagrams ?? 0;
  for (let key = 0; key < 10; key += 1) {
    room.sendNewest(Uint8Array.of(1, 2, 3), { key });
  }
  await clock.pass(1);
  // The link may have a datagram of its own to send.
  const sent = (carrier.newest?.datagrams ?? 0) - datagrams;
  assert.ok(sent >= 1 && sent <= 2, `${sent} datagrams`);
  assert.throws(() => room.sendNewest(new Uint8Array(901)), { code: "tooLarge" });
  assert.throws(() => room.sendNewest(bytes("x"), { to: "all" }), { code: "invalidTarget" });
  // A peer that is not there may just have left.
  room.sendNewest(bytes("x"), { to: { peers: [99] } });
  assert.equal(room.stats().realtime.unsent, 1);
});

test("a ticket resumes the session in another page", async () => {
  const first = await join();
  server.send(server.only, bytes("taken"));
  await clock.pass(100);
  assert.deepEqual(kinds(first), ["event"]);
  server.send(server.only, bytes("not taken"));
  await clock.pass(100);
  const ticket = first.ticket();
  assert.ok(ticket);
  const second = await join({ ticket });
  assert.equal(second.me, first.me);
  assert.equal(second.name, "lobby");
  assert.deepEqual(kinds(second), ["resumed", "event"]);
  assert.deepEqual(kinds(first).at(-1), "closed", "the first page was replaced");
});

test("what arrives wakes a hidden page, whose timers are slow", async () => {
  carrier.maxDatagramSize = 1_154;
  // The client asks for a token after three quarters of this time.
  server.ticketTtlS = 100;
  const page = new PageClock(clock);
  let asked = 0;
  const token = () => {
    asked += 1;
    return tokenOf([server.pin]);
  };
  const room = await join({ clock: page, token });
  await clock.pass(30_000);
  page.isHidden = true;
  // The server sends a datagram without content every five seconds.
  for (let sent = 0; sent < 120; sent += 1) {
    await clock.pass(5_000);
    carrier.newest?.wake();
    await clock.pass(1);
    assert.ok(sent !== 9 || asked === 2, "80 s after the join");
  }
  assert.deepEqual(kinds(room), []);
  assert.equal(server.joins.length, 1, "the session was not lost by silence");
});
