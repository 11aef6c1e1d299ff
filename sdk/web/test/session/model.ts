// A model of a server and of the network to it, for tests in simulated time. The server knows
// tokens with an end, a certificate, tickets, rooms, events and their acknowledgements.

import {
  type Carrier,
  type Connection,
  type ConnectionEnd,
  type ControlStream,
  DialError,
  type ReceiveStream,
  type SendStream,
  StreamError,
} from "../../src/carrier/carrier.js";
import { MessageBuffer } from "../../src/session/buffer.js";
import { concat } from "../../src/session/outgoing.js";
import { toBase64Url } from "../../src/session/ticket.js";
import { CODES } from "../../src/wire/code.js";
import { lossyText, utf8 } from "../../src/wire/codec.js";
import { Hello, Refuse, Welcome } from "../../src/wire/handshake.js";
import { EventDown, EventUp, Join, Joined, Leave } from "../../src/wire/messages.js";
import { EventAck, Renew, Renewed } from "../../src/wire/messaging.js";
import { decodeBody, encodeMessage, type Schema } from "../../src/wire/schema.js";
import { StateRequest, StateReply } from "../../src/wire/state.js";
import { Pipe } from "../carrier/pipe.js";
import { TestServer } from "../realtime/pair.js";
import type { SimulatedClock } from "./clock.js";

/** How long a participant outlives a lost session, in ms. */
const PEER_TTL_MS = 30_000;
/** QUIC's idle timeout, in ms. */
const IDLE_MS = 30_000;
/** Round trip of the network, in ms. */
const ROUND_TRIP_MS = 20;

/** Makes a token that names these pins, and ends at a simulated time. */
export function tokenOf(pins: readonly Uint8Array[], ends = Infinity): string {
  const claims = { sub: "ada", pin: pins.map(toBase64Url), ends: ends === Infinity ? 0 : ends };
  return `e30.${toBase64Url(utf8(JSON.stringify(claims)))}.c2ln`;
}

/** Returns a certificate's pin. */
export function pinOf(number: number): Uint8Array {
  return new Uint8Array(32).fill(number);
}

function endOf(token: string): number {
  const [, payload = ""] = token.split(".");
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as { ends: number };
  return claims.ends || Infinity;
}

/** A participant of the room. */
interface Participant {
  peer: number;
  session: ModelSession | undefined;
  /** When the participant is removed; `Infinity` while there is a session. */
  goneAt: number;
  eventsTaken: number;
  /** Payloads of the events that the room has taken. */
  events: string[];
  /** Events for this participant, by their sequence from 1. */
  sent: Uint8Array[];
}

/** The server. */
export class ModelServer {
  /** The pin of its certificate. */
  pin = pinOf(1);
  isUp = true;
  /** Answers to joins that come before the server looks at them. */
  refusals: { code: number; retryAfterMs?: number; endpoints?: string[] }[] = [];
  /** Joins that the server has accepted or refused, the newest last. */
  joins: Joining[] = [];
  /** Number of times that a client was told the truth about the certificate. */
  untrusted = 0;
  acknowledges = true;
  ticketTtlS = 43_200;
  readonly clock: SimulatedClock;
  readonly participants = new Map<number, Participant>();
  #instance = 1;
  #nextPeer = 1;

  constructor(clock: SimulatedClock) {
    this.clock = clock;
  }

  /** Stops at once, as a process that ends. `start` begins another room instance. */
  kill(): void {
    this.isUp = false;
    for (const participant of this.participants.values()) {
      participant.session?.connection.lose("the server was killed");
    }
    this.participants.clear();
    this.#instance += 1;
  }

  start(): void {
    this.isUp = true;
  }

  /** The only participant. */
  get only(): Participant {
    const [participant] = this.participants.values();
    if (!participant) {
      throw new Error("there is no participant");
    }
    return participant;
  }

  /** Answers a join. */
  join(session: ModelSession, join: Join): void {
    const token = lossyText(join.token);
    const number = Number(lossyText(join.ticket).split("-")[1] ?? 0);
    const isOfInstance = lossyText(join.ticket).startsWith(`${this.#instance}-`);
    this.#expire();
    const known = isOfInstance ? this.participants.get(number) : undefined;
    this.joins.push({ at: this.clock.now(), token, isResume: known !== undefined });
    const refusal = this.refusals.shift();
    if (refusal) {
      return session.refuse(refusal.code, refusal.retryAfterMs, refusal.endpoints);
    }
    // A ticket of another instance takes an expired token's place.
    if (!known && join.ticket.length === 0 && endOf(token) <= this.clock.now()) {
      return session.refuse(CODES.tokenExpired);
    }
    const participant = known ?? {
      peer: this.#nextPeer++,
      session: undefined,
      goneAt: Infinity,
      eventsTaken: 0,
      events: [],
      sent: [],
    };
    participant.session?.connection.closeFromServer(CODES.replaced, "replaced");
    participant.session = session;
    participant.goneAt = Infinity;
    this.participants.set(participant.peer, participant);
    session.accept(participant, {
      resumed: known ? 1 : 0,
      instance: this.#instance,
      ticketTtlS: this.ticketTtlS,
    });
    const last = known ? Number(join.lastEvent) : 0;
    participant.sent.slice(last).forEach((payload, i) => {
      session.sendEvent(last + i + 1, payload);
    });
  }

  /** Sends an event to a participant. */
  send(participant: Participant, payload: Uint8Array): void {
    participant.sent.push(payload);
    participant.session?.sendEvent(participant.sent.length, payload);
  }

  lost(session: ModelSession, at = this.clock.now()): void {
    const { participant } = session;
    if (participant?.session === session) {
      participant.session = undefined;
      participant.goneAt = at + PEER_TTL_MS;
    }
  }

  left(session: ModelSession): void {
    if (session.participant) {
      this.participants.delete(session.participant.peer);
    }
  }

  #expire(): void {
    for (const [peer, { goneAt }] of this.participants) {
      if (goneAt <= this.clock.now()) {
        this.participants.delete(peer);
      }
    }
  }
}

interface Joining {
  at: number;
  token: string;
  isResume: boolean;
}

/** One connection as the server sees it. */
class ModelSession {
  readonly connection: ModelConnection;
  participant: Participant | undefined;
  readonly #server: ModelServer;
  readonly #control = new MessageBuffer();
  readonly #events = new MessageBuffer();
  #hasControlType = false;
  #hasEventsType = false;
  #eventsOut: Pipe | undefined;

  constructor(server: ModelServer, connection: ModelConnection) {
    this.#server = server;
    this.connection = connection;
  }

  control(bytes: Uint8Array): void {
    this.#control.push(bytes);
    this.#hasControlType ||= this.#control.takeKind() !== undefined;
    for (let message; typeof (message = this.#control.next(1 << 20)) !== "string";) {
      this.#onControl(message.schema, message.body);
    }
  }

  #onControl(schema: Schema, body: Uint8Array): void {
    if (schema === Hello) {
      this.say(Welcome, { version: 1, features: Uint8Array.of(7) });
    } else if (schema === Join) {
      this.#server.join(this, decodeBody(Join, body));
    } else if (schema === Renew) {
      const { ticketTtlS } = this.#server;
      this.say(Renewed, { ticketTtlS, ticket: this.#ticket() });
    } else if (schema === StateRequest) {
      const { request } = decodeBody(StateRequest, body);
      this.say(StateReply, { request, code: CODES.forbidden });
    } else if (schema === Leave) {
      this.#server.left(this);
      this.connection.closeFromServer(CODES.left, "left");
    }
  }

  events(bytes: Uint8Array): void {
    const { participant } = this;
    this.#events.push(bytes);
    this.#hasEventsType ||= this.#events.takeKind() !== undefined;
    let message;
    while (participant && typeof (message = this.#events.next(1 << 20)) !== "string") {
      participant.events.push(lossyText(decodeBody(EventUp, message.body).payload));
      participant.eventsTaken += 1;
      if (this.#server.acknowledges) {
        this.say(EventAck, { eventsTaken: participant.eventsTaken });
      }
    }
  }

  say<S extends Schema>(schema: S, value: Parameters<typeof encodeMessage<S>>[1]): void {
    this.connection.toClient(encodeMessage(schema, value));
  }

  refuse(code: number, retryAfterMs = 0, endpoints: string[] = []): void {
    this.say(Refuse, { code, retryAfterMs, endpoints: endpoints.map(utf8) });
    this.connection.closeFromServer(code, "refused");
  }

  #instance = 0;

  #ticket(): Uint8Array {
    return utf8(`${this.#instance}-${this.participant?.peer}`);
  }

  accept(
    participant: Participant,
    { resumed, instance, ticketTtlS }: { resumed: number; instance: number; ticketTtlS: number },
  ): void {
    this.participant = participant;
    this.#instance = instance;
    const { peer, eventsTaken } = participant;
    this.say(Joined, {
      peer,
      roomInstance: new Uint8Array(8).fill(instance),
      linkId: new TestServer(0).linkId,
      clockEpoch: instance,
      rosterVersion: 1,
      roster: [{ peer, user: utf8("ada"), name: utf8("Ada") }],
      settings: [{ key: 28, value: BigInt(ticketTtlS) }],
      ticket: this.#ticket(),
      resumed,
      eventsTaken,
      room: utf8("lobby"),
    });
  }

  sendEvent(sequence: number, payload: Uint8Array): void {
    let bytes = encodeMessage(EventDown, {
      peer: this.participant?.peer ?? 0,
      rosterVersion: 1,
      sequence: BigInt(sequence),
      payload,
    });
    if (!this.#eventsOut) {
      this.#eventsOut = this.connection.openFromServer();
      bytes = concat(Uint8Array.of(2), bytes);
    }
    this.#eventsOut.push(bytes);
  }
}

/** The client's end of a connection. */
class ModelConnection implements Connection {
  readonly maxDatagramSize: number;
  /** Datagrams that have come from the client. */
  datagrams = 0;
  readonly closed: Promise<ConnectionEnd>;
  readonly session: ModelSession;
  readonly #server: ModelServer;
  readonly #control = new Pipe();
  readonly #accepted = new Pipe<ReceiveStream>();
  readonly #pipes: Pipe[] = [this.#control];
  readonly #plane = new TestServer(0);
  readonly #received = new Pipe();
  #end: (end: ConnectionEnd) => void = () => {};
  #isOver = false;
  /** When something came from the client last. */
  #heardAt: number;

  constructor(server: ModelServer, maxDatagramSize: number) {
    this.maxDatagramSize = maxDatagramSize;
    this.#server = server;
    this.session = new ModelSession(server, this);
    this.#heardAt = server.clock.now();
    this.closed = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.#watch();
  }

  /** Bytes that the client has not read. */
  get unread(): number {
    return this.#pipes.reduce((sum, pipe) => sum + pipe.unread, 0);
  }

  #watch(): void {
    const left = this.#heardAt + IDLE_MS - this.#server.clock.now();
    if (left <= 0) {
      this.#timeOut();
    } else if (!this.#isOver) {
      this.#server.clock.after(left, () => this.#watch());
    }
  }

  #hear(): boolean {
    // What comes after the idle timeout comes too late, also if nobody has looked at the clock.
    if (this.#server.clock.now() - this.#heardAt > IDLE_MS) {
      this.#timeOut();
    }
    this.#heardAt = this.#server.clock.now();
    return !this.#isOver;
  }

  /** Nobody has looked at the clock while it stood still, but the server has. */
  #timeOut(): void {
    this.#over({ kind: "lost", text: "idle timeout" });
    this.#server.lost(this.session, this.#heardAt + IDLE_MS);
  }

  toClient(bytes: Uint8Array): void {
    this.#server.clock.after(ROUND_TRIP_MS / 2, () => this.#control.push(bytes));
  }

  openFromServer(): Pipe {
    const pipe = new Pipe();
    this.#pipes.push(pipe);
    this.#accepted.push({ read: () => pipe.read(), stop: () => {} });
    return pipe;
  }

  closeFromServer(number: number, text: string): void {
    const closing = () => this.#over({ kind: "byServer", number, text });
    this.#server.clock.after(ROUND_TRIP_MS / 2, closing);
  }

  lose(text: string): void {
    this.#over({ kind: "lost", text });
    this.#server.lost(this.session);
  }

  #over(end: ConnectionEnd): void {
    if (!this.#isOver) {
      this.#isOver = true;
      this.#end(end);
      this.#pipes.forEach((pipe) => pipe.fail(new StreamError("closed", false)));
      this.#accepted.end();
      this.#received.end();
    }
  }

  #sendStream(take: (bytes: Uint8Array) => void): SendStream {
    return {
      write: async (bytes) => {
        if (this.#hear()) {
          take(bytes);
        }
      },
      finish: async () => {},
    };
  }

  async openControl(): Promise<ControlStream> {
    const send = this.#sendStream((bytes) => this.session.control(bytes));
    return { send, receive: { read: () => this.#control.read(), stop: () => {} } };
  }

  async openStream(): Promise<SendStream> {
    return this.#sendStream((bytes) => this.session.events(bytes));
  }

  accept(): Promise<ReceiveStream | undefined> {
    return this.#accepted.read();
  }

  receiveDatagram(): Promise<Uint8Array | undefined> {
    return this.#received.read();
  }

  /** Sends an empty datagram to the client. */
  wake(): void {
    this.#received.push(new Uint8Array(0));
  }

  sendDatagram(bytes: Uint8Array): void {
    if (this.#hear()) {
      this.datagrams += 1;
      const { clock } = this.#server;
      const { answer } = this.#plane.handleInput(clock.now(), bytes);
      if (answer) {
        clock.after(ROUND_TRIP_MS, () => this.#received.push(answer));
      }
    }
  }

  close(code: number): void {
    if (code === CODES.leaving) {
      this.#server.left(this.session);
    } else {
      this.#server.lost(this.session);
    }
    this.#over({ kind: "byClient" });
  }
}

/** A network of servers by their addresses. */
export class ModelCarrier implements Carrier {
  readonly servers = new Map<string, ModelServer>();
  maxDatagramSize = 0;
  /** Addresses that were dialled, the newest last. */
  dialled: string[] = [];
  /** The newest connection. */
  newest: ModelConnection | undefined;
  readonly #clock: SimulatedClock;

  constructor(clock: SimulatedClock) {
    this.#clock = clock;
  }

  dial(address: string, pins: readonly Uint8Array[], signal: AbortSignal): Promise<Connection> {
    this.dialled.push(address);
    const server = this.servers.get(address);
    return new Promise((resolve, reject) => {
      const fail = (text: string) => reject(new DialError(text, true));
      signal.addEventListener("abort", () => fail("aborted"));
      if (!server?.isUp) {
        // Nothing answers, as behind a firewall: the client's own limit ends the try.
        return;
      }
      this.#clock.after(ROUND_TRIP_MS, () => {
        if (pins.some((pin) => pin.every((byte, i) => byte === server.pin[i]))) {
          this.newest = new ModelConnection(server, this.maxDatagramSize);
          resolve(this.newest);
        } else {
          server.untrusted += 1;
          fail("Opening handshake failed.");
        }
      });
    });
  }
}
