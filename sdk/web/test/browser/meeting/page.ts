// One of the programs that do the same in Rust, C, C# and a browser, and check each other in one
// room. `.ci/meeting.py` starts them and compares their reports. This one is the page of
// `meeting.mjs`.

import { Batch, connect, NucleusError } from "../../../src/index.js";
import type { PeerId, Room, RoomEvent } from "../../../src/index.js";
import { Memory } from "./memory.js";
import { add, COUNT, Report } from "./report.js";

const CHANNEL = 5;
const METHOD = "double";
const EVENT_EVERY_MS = 100;
const ASK_EVERY_MS = 250;
/** All change the count at the same moments of the server's clock, so that they conflict. */
const CHANGE_EVERY_US = 200_000;
/** Seconds before the end at which nothing new is sent or asked. */
const QUIET_S = 4;
/** A request ends before the report, which is made {@link REPORT_S} seconds before the end. */
const ASK_TIMEOUT_MS = 2_900;
/** Everybody reports before the first one leaves, because a leave changes the state. */
const REPORT_S = 1;

/** What the program hands to its page. */
export interface Options {
  server: string;
  token: string;
  /** The content of the file of the tab before. */
  memory: string;
  /** When the meeting ends, in seconds of unix time. */
  until: number;
  /** How many others come. */
  others: number;
}

declare global {
  /** Replaces the content of the file. A function of the program. */
  function saveMemory(text: string): Promise<void>;
  /** Starts the meeting. Resolves with the report, and leaves at the end. */
  var meet: (options: Options) => Promise<string>;
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytes = (value: unknown) => new TextEncoder().encode(String(value));
const secondsUntil = (unix: number) => unix - Date.now() / 1_000;
const nextFrame = () => new Promise<number>((resolve) => requestAnimationFrame(resolve));

/** Returns where the head is at a moment of the server's clock. */
function position(us: number): [number, number, number] {
  const angle = (us / 1e6) % (2 * Math.PI);
  return [Math.cos(angle), 1.7, Math.sin(angle)];
}

class Meeting {
  readonly room: Room;
  readonly memory: Memory;
  readonly report = new Report();
  readonly others: number;
  readonly users = new Map<PeerId, string>();
  /** The moment that the last shown pose of each peer showed. */
  readonly shown = new Map<PeerId, number>();
  /** Senders whose next event may come after lost ones. */
  readonly mayMiss = new Set<string>();
  /** Shown poses of peers whose users are not known yet. */
  readonly seen = new Map<PeerId, number>();
  isInterrupted = false;
  isCounting = false;
  lastFrame: number | undefined;
  nextEvent = performance.now();
  nextAsk = performance.now();
  lastChange = 0;

  constructor(room: Room, memory: Memory, others: number) {
    this.room = room;
    this.memory = memory;
    this.others = others;
    this.report.isResumed = memory.peer === room.me;
    for (const peer of room.peers()) {
      this.users.set(peer.id, peer.user);
    }
    this.joined(this.report.isResumed);
  }

  /** Notes the own peer id, and makes this user's object unless it is there. */
  joined(hasObject: boolean): void {
    const { room } = this;
    this.memory.peer = room.me;
    if (!hasObject) {
      const id = room.newObjectId();
      const batch = new Batch().create(id, { ownership: "take", withRoom: true });
      const user = room.peer(room.me)?.user ?? "";
      void this.change(batch.set({ object: id }, "user", user));
    }
  }

  /** Requests a change. Returns whether it was carried out. */
  async change(batch: Batch): Promise<boolean> {
    try {
      await this.room.change(batch);
      return true;
    } catch (error) {
      if (error instanceof NucleusError && error.code === "conflict") {
        this.report.numbers.conflicts += 1;
      } else {
        console.warn(`a change failed: ${error}`);
        this.report.numbers.change_failures += 1;
      }
      return false;
    }
  }

  frame(isActive: boolean): void {
    const now = performance.now();
    const { numbers } = this.report;
    const pause = Math.floor(now - (this.lastFrame ?? now));
    numbers.longest_pause_ms = Math.max(numbers.longest_pause_ms, pause);
    this.lastFrame = now;
    const events = this.room.poll();
    events.forEach((event) => this.take(event));
    if (events.length > 0) {
      // After the events of the frame were taken: the ticket says which ones.
      this.memory.ticket = this.room.ticket();
      void saveMemory(this.memory.toText());
    }
    const time = this.room.serverTime();
    if (time !== undefined) {
      this.room.sendPose({ head: { position: position(time), rotation: [0, 0, 0, 1] } });
    }
    this.look();
    if (isActive && !this.isInterrupted && time !== undefined) {
      this.send(now, time);
    }
  }

  take(event: RoomEvent): void {
    switch (event.kind) {
      case "peerJoined":
        this.users.set(event.peer.id, event.peer.user);
        break;
      case "event":
        if (event.channel === CHANNEL) {
          this.takeMessage(event.from, text(event.payload));
        }
        break;
      case "rpcRequest":
        this.answer(event);
        break;
      case "clockChanged":
        this.shown.clear();
        break;
      case "interrupted":
        this.isInterrupted = true;
        break;
      case "resumed":
        this.isInterrupted = false;
        this.report.numbers.gaps += event.missedEvents ? 1 : 0;
        break;
      case "rejoined":
        this.rejoined();
        break;
      case "closed":
        throw new Error(`closed: ${event.text}`);
    }
  }

  /** The room is a new instance, without the old state. */
  rejoined(): void {
    this.countSeen();
    this.shown.clear();
    this.isInterrupted = false;
    this.report.numbers.rejoined += 1;
    this.memory.successes = 0;
    [...this.memory.records.keys()].forEach((user) => this.mayMiss.add(user));
    this.joined(false);
  }

  takeMessage(from: PeerId, message: string): void {
    const user = this.users.get(from);
    const [run, number] = message.split(",").map(Number);
    if (user === undefined || run === undefined || number === undefined) {
      throw new Error(`an event of an unknown peer or of another form: ${message}`);
    }
    const record = this.memory.records.get(user) ?? { run: 0, next: 0 };
    this.memory.records.set(user, record);
    add(this.report.received, user);
    this.report.checkEvent(record, run, number, this.mayMiss.delete(user));
  }

  answer({ id, method, payload }: RoomEvent & { kind: "rpcRequest" }): void {
    const number = Number(text(payload));
    try {
      if (method !== METHOD) {
        this.room.failRpc(id, "noSuchMethod");
      } else if (Number.isInteger(number)) {
        this.room.answerRpc(id, bytes(2 * number));
      } else {
        this.room.failRpc(id, 256, "not a number");
      }
    } catch {
      // A caller that no longer waits needs no answer.
    }
  }

  /** Compares the shown poses with the truth at the moment that they show. */
  look(): void {
    this.report.numbers.frames += 1;
    for (const { from, shown, certainty, pose } of this.room.shownPoses()) {
      this.seen.set(from, (this.seen.get(from) ?? 0) + 1);
      this.report.numbers.backwards += shown < (this.shown.get(from) ?? 0) ? 1 : 0;
      this.shown.set(from, shown);
      // Where a peer goes while it is not heard is a guess.
      if (certainty === "interpolated") {
        const truth = position(shown);
        const [x, y, z] = pose.head.position;
        this.report.checkPose(Math.hypot(x - truth[0], y - truth[1], z - truth[2]));
      }
    }
  }

  /** Adds the poses of each peer to those of its user. */
  countSeen(): void {
    for (const [peer, poses] of this.seen) {
      add(this.report.seen, this.users.get(peer) ?? "", poses);
    }
    this.seen.clear();
  }

  send(now: number, time: number): void {
    const { room, report, memory } = this;
    const peers = room.peers();
    // Everybody is here before the first event, so that nobody misses the number 0.
    if (peers.length >= this.others && now >= this.nextEvent) {
      const message = `${memory.run},${report.numbers.sent}`;
      void room.sendEvent("others", CHANNEL, bytes(message));
      report.numbers.sent += 1;
      this.nextEvent = Math.max(this.nextEvent + EVENT_EVERY_MS, now);
    }
    const change = Math.floor(time / CHANGE_EVERY_US);
    if (change !== this.lastChange && !this.isCounting) {
      this.lastChange = change;
      void this.increaseCount();
    }
    const peer = peers[Math.floor(Math.random() * peers.length)];
    if (peer && now >= this.nextAsk) {
      this.nextAsk = Math.max(this.nextAsk + ASK_EVERY_MS, now);
      void this.ask(peer.id);
    }
  }

  async increaseCount(): Promise<void> {
    const field = this.room.field("room", COUNT);
    const count = typeof field?.value === "bigint" ? field.value : 0n;
    const batch = new Batch().compareAndSet("room", COUNT, field?.version ?? 0n, count + 1n);
    this.isCounting = true;
    if (await this.change(batch)) {
      this.memory.successes += 1;
    }
    this.isCounting = false;
  }

  async ask(peer: PeerId): Promise<void> {
    const { numbers } = this.report;
    const number = Math.floor(Math.random() * 1_000_000);
    numbers.asked += 1;
    try {
      const options = { timeoutMs: ASK_TIMEOUT_MS };
      const answer = await this.room.rpc(peer, METHOD, bytes(number), options);
      const isRight = text(answer) === String(2 * number);
      numbers.answered += isRight ? 1 : 0;
      numbers.wrong += isRight ? 0 : 1;
    } catch (error) {
      this.report.countFailure(error);
    }
  }
}

globalThis.meet = async ({ server, token, memory: before, until, others }: Options) => {
  const memory = Memory.from(before);
  memory.run += 1;
  // Before the first event, so that no two tabs send the events of one run.
  await saveMemory(memory.toText());
  const room = await connect({ server, token, ticket: memory.ticket });
  const meeting = new Meeting(room, memory, others);
  let report: Promise<string> | undefined;
  for (let left = secondsUntil(until); left > 0 || !report; left = secondsUntil(until)) {
    await nextFrame();
    meeting.frame(left > QUIET_S);
    if (left <= REPORT_S && !report) {
      meeting.countSeen();
      report = meeting.report.toJson(room, memory);
    }
  }
  await room.leave();
  return report;
};
