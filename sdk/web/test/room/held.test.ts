// What a hostile or broken server can make a client in a room hold. The same as
// client/core/tests/session/hostile.rs.

import assert from "node:assert/strict";
import { test } from "node:test";

import { RoomClient } from "../../src/room/client.js";
import type { RoomEvent } from "../../src/room/event.js";
import { selectionOf } from "../../src/room/selection.js";
import { ROOM_EVENTS } from "../../src/session/held.js";
import { concat } from "../../src/session/outgoing.js";
import type { StreamSource } from "../../src/session/incoming.js";
import { STREAM_STATE, Welcome } from "../../src/wire/handshake.js";
import type { Init, StructKind } from "../../src/wire/kinds.js";
import {
  MAX_NAME,
  MAX_ROOM_PEERS,
  MAX_STATE_OBJECTS,
} from "../../src/wire/limits.js";
import { AWAY, Joined, MUTED, Peer, RESUMED, RosterUpdate } from "../../src/wire/messages.js";
import { Audit } from "../../src/wire/messaging.js";
import { encodeMessage } from "../../src/wire/schema.js";
import {
  CHANGE_CREATED,
  CHANGE_DELETED,
  SCOPE_OBJECT,
  StateSnapshot,
  StateUpdate,
} from "../../src/wire/state.js";

/** The version of the roster in the answer to the join. */
const VERSION = 4;

type NewPeer = Init<typeof Peer>;
type Update = Init<StructKind<(typeof RosterUpdate)["fields"]>>;
type Answer = Init<StructKind<(typeof Joined)["fields"]>>;
type Texts = Partial<Record<"user" | "name" | "role", number>>;

/** A peer whose texts have these lengths. */
function named(peer: number, { user = 0, name = 0, role = 0 }: Texts = {}): NewPeer {
  const text = (length: number) => new Uint8Array(length).fill(110);
  return { peer, slot: peer & 0xffff, user: text(user), name: text(name), role: text(role) };
}

function some(from: number, count: number, texts?: Texts): NewPeer[] {
  return Array.from({ length: count }, (_, i) => named(from + i, texts));
}

/** A client and a server that sends what a test says. */
class Script {
  now = 0;
  readonly client: RoomClient;
  #version = VERSION;
  #stateVersion = 0n;

  constructor(roster: NewPeer[] = [named(1)]) {
    const join = { token: "t", room: "r", name: "", agent: "a", ticket: undefined };
    const options = { patienceMs: 60_000, hasTokenProvider: false, random: () => 0.5 };
    this.client = new RoomClient(0, "s:1", { ...join, selection: selectionOf({}) }, options);
    this.#carryOut();
    this.admit({ roster });
  }

  /** Answers the client's hello and join. */
  admit(answer: Answer): void {
    this.#version = VERSION;
    const joined = { peer: 1, rosterVersion: VERSION, ...answer };
    this.client.handle(this.now, { kind: "connected", maxDatagramSize: 0 });
    this.#carryOut();
    const welcome = encodeMessage(Welcome, { version: 1, features: Uint8Array.of(7) });
    this.send(concat(welcome, encodeMessage(Joined, joined)));
  }

  send(bytes: Uint8Array, source: StreamSource = "control"): void {
    this.client.handle(this.now, { kind: "bytes", source, bytes });
    this.#carryOut();
  }

  /** Sends the next update of the roster. */
  update(update: Update): void {
    this.#version += 1;
    this.send(encodeMessage(RosterUpdate, { version: this.#version, ...update }));
  }

  /** Opens the stream of the state, which is empty. */
  openState(): void {
    this.client.handle(this.now, { kind: "streamOpened", number: 0 });
    const snapshot = encodeMessage(StateSnapshot, { version: 0n });
    this.send(concat(Uint8Array.of(STREAM_STATE), snapshot), 0);
    this.events();
  }

  /** Sends the next update of the state. */
  updateState(changes: Init<StructKind<(typeof StateUpdate)["fields"]>>["changes"]): void {
    this.#stateVersion += 1n;
    this.send(encodeMessage(StateUpdate, { version: this.#stateVersion, changes }), 0);
  }

  /** Breaks the connection. Returns whether the client comes back. */
  comesBack(): boolean {
    this.client.handle(this.now, { kind: "closed", end: { kind: "lost", text: "" } });
    for (let step = 0; step < 100; step += 1) {
      if (this.#carryOut() || this.client.session.isClosed()) {
        break;
      }
      this.now += 100;
      this.client.handleTimeout(this.now);
    }
    return !this.client.session.isClosed();
  }

  events(): RoomEvent[] {
    const events: RoomEvent[] = [];
    for (let event; (event = this.client.takeEvent(this.now)); ) {
      events.push(event);
    }
    return events;
  }

  /** Takes all outputs. Returns whether the client connects. */
  #carryOut(): boolean {
    let connects = false;
    for (let output; (output = this.client.poll()); ) {
      connects ||= output.kind === "connect";
      if (output.kind === "stream" && output.bytes) {
        this.client.handle(this.now, { kind: "written", target: output.target });
      }
    }
    return connects;
  }

  get peers(): number {
    return this.client.roster.all().length;
  }
}

test("a roster does not grow without end", () => {
  const script = new Script();
  for (let update = 1; update < 16; update += 1) {
    script.update({ joined: some(update * MAX_ROOM_PEERS, MAX_ROOM_PEERS) });
    assert.equal(script.events().length, MAX_ROOM_PEERS, "a larger room than today's");
  }
  script.update({ joined: some(16 * MAX_ROOM_PEERS, MAX_ROOM_PEERS) });
  assert.ok(script.client.session.isClosed());
  assert.equal(script.peers, 15 * MAX_ROOM_PEERS + 1);
});

test("a peer does not have a name without end", () => {
  for (const texts of [{ name: 6_000 }, { user: 2_000, name: 2_000, role: 2_000 }]) {
    const script = new Script();
    script.update({ joined: [named(2, texts)] });
    assert.equal(script.peers, 2);
    script.update({ joined: [named(3, { ...texts, role: 3_000 })] });
    assert.equal(script.peers, 2);
    assert.ok(script.client.session.isClosed());
  }
  assert.equal(new Script([named(1, { name: 7_000 })]).client.hasJoined, false);
});

test("the names of a roster do not grow without end", () => {
  const script = new Script();
  let peers = 0;
  while (!script.client.session.isClosed()) {
    assert.ok(peers < 12_000, `${peers} peers with 6,000 bytes each`);
    script.update({ joined: some(peers + 2, 300, { name: 6_000 }) });
    script.events();
    peers += 300;
  }
  assert.ok(peers * 6_000 > 16 << 20, "sixteen rosters of today");
});

/** A part of a scene, as of a library for 3D: each knows its parent and its children. */
class Scene {
  children: Scene[] = [];
  vertices = new Float32Array(100_000);
  constructor(public parent?: Scene) {
    parent?.children.push(this);
  }
}

test("what an application attaches to a peer does not count, and ends nothing", () => {
  const script = new Script([named(1), ...some(2, 1, { name: 20 })]);
  const before = script.client.roster._peers._bytes;
  for (const presence of [MUTED, AWAY, 0]) {
    for (const peer of script.client.roster.all()) {
      Object.assign(peer, { scene: new Scene(new Scene()), cycle: { peer } });
    }
    script.update({ changed: [{ peer: 2, presence }] });
    assert.ok(!script.client.session.isClosed());
    assert.ok(script.events().length > 0);
  }
  script.update({ left: [{ peer: 2, code: 0 }] });
  assert.ok(!script.client.session.isClosed());
  const size = script.client.roster._peers._bytes;
  assert.ok(0 <= size && size < before, `${before} bytes with both peers, ${size} with one`);
});

test("a peer changes once in an update", () => {
  const script = new Script([named(1), named(2)]);
  const changed = Array.from({ length: 101 }, (_, n) => ({ peer: 2, presence: n % 2 ? 0 : MUTED }));
  script.update({ changed });
  const events = script.events();
  assert.equal(events.length, 1);
  assert.ok(events[0]?.kind === "peerChanged" && events[0].peer.muted);
});

/** Sends messages until the client reads no more. Returns how many it has read. */
function untilBehind(send: (script: Script, number: number) => void): number {
  const script = new Script();
  let read = 0;
  while (!script.client.isBehind) {
    assert.ok(read < 2_000, "the client reads without end");
    read += 1;
    send(script, read);
    assert.ok(!script.client.session.isClosed(), `closed after ${read}`);
  }
  return read;
}

test("the texts of waiting events count", () => {
  // The kind of an event counts too.
  const isFull = (read: number) => read * (5_000 + ROOM_EVENTS.overhead + 15) >= ROOM_EVENTS.full;
  const expect = (read: number) => assert.ok(isFull(read) && !isFull(read - 3), `${read} events`);
  const texts = { name: 5_000 };
  const joins = untilBehind((script, n) => script.update({ joined: [named(n + 1, texts)] }));
  expect(joins);
  const user = new Uint8Array(5_000).fill(117);
  const audit = encodeMessage(Audit, { act: 6, by: 1, peer: 2, user });
  expect(untilBehind((script) => script.send(audit)));
  const comesAndGoes = untilBehind((script, n) => {
    const update = n % 2 ? { joined: [named(n + 1, texts)] } : { left: [{ peer: n }] };
    script.update(update);
  });
  expect(comesAndGoes);
  // The same peer with other texts and another presence each time.
  const presences = untilBehind((script, n) => {
    script.update({ joined: [{ ...named(2, texts), presence: n % 2 ? 0 : AWAY }] });
  });
  expect(presences);
});

test("one act upon the largest room does not fill the queue", () => {
  const longest = { user: MAX_NAME, name: MAX_NAME, role: MAX_NAME };
  const script = new Script(some(1, MAX_ROOM_PEERS, longest));
  const all = script.client.roster.all();
  script.update({ changed: all.map(({ id }) => ({ peer: id, presence: MUTED })) });
  assert.equal(script.client.isBehind, false);
  assert.equal(script.events().length, MAX_ROOM_PEERS);
  script.openState();
  const changes = (kind: number) =>
    Array.from({ length: MAX_STATE_OBJECTS }, (_, id) => ({ kind, scope: SCOPE_OBJECT, id: BigInt(id) }));
  for (const kind of [CHANGE_CREATED, CHANGE_DELETED]) {
    script.updateState(changes(kind));
    assert.equal(script.client.isBehind, false, `the change ${kind} of all objects`);
    assert.equal(script.events().length, MAX_STATE_OBJECTS);
  }
  const { full, most, mostBytes, overhead } = ROOM_EVENTS;
  // Each of the three limits of an overfull queue is above what one session brings.
  assert.ok(2 * full + 3 * (9 << 20) < mostBytes && (2 * full) / overhead <= most / 2);
});

test("events of many sessions do not wait without end", () => {
  const script = new Script();
  let sessions = 0;
  while (script.comesBack()) {
    sessions += 1;
    assert.ok(sessions < 100, "the client comes back without end");
    // All other peers are others each time, and the application takes no events.
    const others = some(sessions * 300, 300, { name: 6_000 });
    script.admit({ resumed: RESUMED, roster: [named(1), ...others] });
  }
  assert.ok(sessions >= 5 && sessions < 20, `${sessions} sessions of 3.6 MB of names`);
  assert.equal(script.events().at(-1)?.kind, "closed");
});
