// A client's realtime plane and a simple server in one process.

import assert from "node:assert/strict";

import type { OutgoingMessage, ReceivedMessage } from "../../src/realtime/message.js";
import { RealtimePlane } from "../../src/realtime/plane.js";
import { Reader, Writer } from "../../src/wire/codec.js";
import {
  type ClientFrame,
  PLANE_SESSION,
  putClockReply,
  putKeepAlive,
  putSendTime,
  readClientBody,
} from "../../src/wire/control.js";
import {
  type Message,
  NEWEST_WINS,
  POSE,
  putMessage,
  TARGET_OTHERS,
} from "../../src/wire/frame.js";
import { LINK_ID, MAX_BODY } from "../../src/wire/limits.js";

export const ADA = { slot: 3, peer: 30 };
export const BOB = { slot: 4, peer: 40 };

const LINK = 7;
const EPOCH = 1;

/** What a server does on the realtime plane: it answers keep-alives and clock requests. */
export class TestServer {
  /** The server's clock minus the client's, in µs. */
  offset: number;
  linkId = LINK;
  epoch = EPOCH;
  isSilent = false;

  constructor(offset: number) {
    this.offset = offset;
  }

  /** The server's clock in µs. */
  time(now: number): number {
    return Math.floor(now * 1_000) + this.offset;
  }

  /** The capture time of this moment, as on the wire. */
  millis(now: number): number {
    return Math.floor(this.time(now) / 1_000) & 0xffff;
  }

  /** Takes a datagram. Returns its frames, and the answer if there is one. */
  handleInput(now: number, datagram: Uint8Array): { frames: ClientFrame[]; answer?: Uint8Array } {
    assert.ok(datagram.length <= LINK_ID + MAX_BODY);
    assert.equal(new Reader(datagram).u32(), this.linkId);
    const frames = readClientBody(datagram.subarray(LINK_ID));
    const out = this.begin();
    for (const frame of frames) {
      if (frame.kind === "keepAlive") {
        assert.deepEqual(frame.keepAlive.choice, { change: 0, plane: PLANE_SESSION });
        putKeepAlive(out, frame.keepAlive);
      } else if (frame.kind === "clock") {
        const { clientSent } = frame.request;
        const serverTime = this.time(now);
        const { epoch } = this;
        putClockReply(out, {
          clientSent,
          serverReceived: serverTime,
          serverSent: serverTime,
          epoch,
        });
      }
    }
    const hasAnswer = out.length > LINK_ID && !this.isSilent;
    return hasAnswer ? { frames, answer: out.copy() } : { frames };
  }

  begin(): Writer {
    const out = new Writer();
    out.u32(this.linkId);
    return out;
  }

  /** Returns a datagram with messages. */
  messages(now: number, messages: Message[]): Uint8Array {
    const out = this.begin();
    putSendTime(out, this.time(now));
    messages.forEach((message) => putMessage(out, message));
    return out.copy();
  }
}

/** A message of Ada's: a pose on channel 0 with key 0, unless `fields` say otherwise. */
export function message(sequence: number, fields: Partial<Message> = {}): Message {
  return {
    kind: POSE,
    flags: NEWEST_WINS,
    peer: ADA.slot,
    channel: 0,
    key: 0,
    sequence,
    time: undefined,
    payload: Uint8Array.of(1),
    ...fields,
  };
}

/** A pose to send, unless `fields` say otherwise. */
export function outgoing(
  payload: Uint8Array,
  fields: Partial<OutgoingMessage> = {},
): OutgoingMessage {
  return {
    kind: POSE,
    newestWins: true,
    target: TARGET_OTHERS,
    channel: 0,
    key: 0,
    payload,
    ...fields,
  };
}

export function sequences(received: ReceivedMessage[]): number[] {
  return received.map(({ sequence }) => sequence);
}

/** A client and a server, with a network that loses nothing and has no delay. */
export class Pair {
  now = 100_000;
  readonly server: TestServer;
  readonly plane: RealtimePlane;
  /** How many of the server's next answers are lost. */
  lost = 0;
  /** How late the server's answers are, in ms. */
  delay = 0;
  #late: { at: number; answer: Uint8Array }[] = [];
  /** All frames that the server has received. */
  frames: { at: number; kinds: string[] }[] = [];

  constructor(plane = new RealtimePlane(), offset = 5_000_000) {
    this.plane = plane;
    this.server = new TestServer(offset);
    this.grant(true);
  }

  grant(sameRoom: boolean): void {
    const link = { linkId: this.server.linkId, maxBody: MAX_BODY, reportIntervalMs: 100 };
    const { epoch } = this.server;
    const clock = { at: this.now, serverTime: this.server.time(this.now), epoch };
    this.plane.granted(this.now, { link, clock }, sameRoom);
  }

  /** Returns a pair whose client knows the server's time and both peers. */
  static settled(plane?: RealtimePlane): Pair {
    const pair = new Pair(plane);
    for (let i = 0; i < 20; i += 1) {
      pair.exchange();
      pair.advance(50);
    }
    pair.plane.addPeer(pair.now, ADA.slot, ADA.peer);
    pair.plane.addPeer(pair.now, BOB.slot, BOB.peer);
    return pair;
  }

  advance(ms: number): void {
    this.now += ms;
    this.plane.handleTimeout(this.now);
  }

  /** Exchanges datagrams. Returns the messages that the server received, by datagram. */
  exchange(): Message[][] {
    const received: Message[][] = [];
    for (let datagram; (datagram = this.plane.takeDatagram(this.now)) !== undefined;) {
      const { frames, answer } = this.server.handleInput(this.now, datagram);
      this.frames.push({ at: this.now, kinds: frames.map(({ kind }) => kind) });
      received.push(frames.flatMap((frame) => (frame.kind === "message" ? [frame.message] : [])));
      if (answer !== undefined && this.lost > 0) {
        this.lost -= 1;
      } else if (answer !== undefined && this.delay > 0) {
        this.#late.push({ at: this.now + this.delay, answer });
      } else if (answer !== undefined) {
        this.plane.datagram(this.now, answer);
      }
      assert.ok(received.length < 1_000, "it sends for ever");
    }
    return received.filter((messages) => messages.length > 0);
  }

  /** Delivers one datagram of the server. The application takes nothing. */
  deliverOnly(...messages: Message[]): void {
    this.plane.datagram(this.now, this.server.messages(this.now, messages));
  }

  /** Delivers one datagram of the server. Returns the messages for the application. */
  deliver(...messages: Message[]): ReceivedMessage[] {
    this.deliverOnly(...messages);
    return this.received();
  }

  received(): ReceivedMessage[] {
    const received: ReceivedMessage[] = [];
    for (let next; (next = this.plane.pop(this.now)) !== undefined;) {
      received.push(next);
    }
    return received;
  }

  /** Does what is due at each deadline, until this time has passed. */
  run(ms: number): void {
    const end = this.now + ms;
    for (let steps = 0; ; steps += 1) {
      assert.ok(steps < 100_000, "the deadline does not move on");
      this.exchange();
      const deadline = Math.min(this.plane.deadline(), this.#late[0]?.at ?? Infinity);
      assert.ok(deadline > this.now, `due at ${deadline}, now ${this.now}`);
      if (deadline > end) {
        break;
      }
      this.advance(deadline - this.now);
      for (; (this.#late[0]?.at ?? Infinity) <= this.now; this.#late.shift()) {
        this.plane.datagram(this.now, this.#late[0]?.answer ?? new Uint8Array(0));
      }
    }
    this.advance(end - this.now);
  }
}
