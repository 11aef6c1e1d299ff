// A carrier whose server answers the join, and otherwise only keeps what it gets: for tests of the
// shell, in real time.

import {
  type Carrier,
  type Connection,
  type ConnectionEnd,
  type ControlStream,
  type ReceiveStream,
  type SendStream,
} from "../../src/carrier/carrier.js";
import { connect, type ConnectOptions } from "../../src/connect.js";
import type { Room } from "../../src/room.js";
import { utf8 } from "../../src/wire/codec.js";
import { Welcome } from "../../src/wire/handshake.js";
import { Joined } from "../../src/wire/messages.js";
import { encodeMessage, type Schema } from "../../src/wire/schema.js";
import { Pipe } from "../carrier/pipe.js";
import { tokenOf } from "../session/model.js";

/** A token that this client may send. Nobody has signed it. */
export const TOKEN = tokenOf([]);

/** How a fake server behaves. */
export interface FakeBehaviour {
  /** Whether writes to the lanes never end, until `release`. */
  holdsWrites?: boolean;
  /** Whether the control stream never opens. */
  holdsControl?: boolean;
  /** The answer to the join. Default: this client is peer 1, and peer 2 is there. */
  answer?: Uint8Array | undefined;
}

export class FakeCarrier implements Carrier {
  readonly connections: FakeConnection[] = [];
  readonly behaviour: FakeBehaviour;

  constructor(behaviour: FakeBehaviour = {}) {
    this.behaviour = behaviour;
  }

  async dial(): Promise<Connection> {
    const connection = new FakeConnection(this.behaviour);
    this.connections.push(connection);
    return connection;
  }

  /** The newest connection. */
  get newest(): FakeConnection {
    const connection = this.connections.at(-1);
    if (!connection) {
      throw new Error("nobody has connected");
    }
    return connection;
  }
}

export class FakeConnection implements Connection {
  readonly maxDatagramSize = 1_200;
  readonly closed: Promise<ConnectionEnd>;
  /** What the client has written: to the control stream, and to the lanes. */
  readonly control: Uint8Array[] = [];
  readonly lanes: Uint8Array[] = [];
  datagrams = 0;
  closedWith: number | undefined;
  end: (end: ConnectionEnd) => void = () => {};
  readonly #down = new Pipe();
  readonly #accepted = new Pipe<ReceiveStream>();
  readonly #received = new Pipe();
  readonly #behaviour: FakeBehaviour;
  #held: (() => void)[] = [];

  constructor(behaviour: FakeBehaviour) {
    this.#behaviour = behaviour;
    this.closed = new Promise((resolve) => {
      this.end = resolve;
    });
  }

  /** Sends a message to the client. */
  say<S extends Schema>(schema: S, value: Parameters<typeof encodeMessage<S>>[1]): void {
    this.#down.push(encodeMessage(schema, value));
  }

  /** Ends the writes that are held, and holds none any more. */
  release(): void {
    this.#behaviour.holdsWrites = false;
    this.#held.splice(0).forEach((end) => end());
  }

  async openControl(): Promise<ControlStream> {
    if (this.#behaviour.holdsControl) {
      await new Promise(() => {});
    }
    const send: SendStream = {
      write: async (bytes) => {
        this.control.push(bytes);
        if (this.control.length === 1) {
          this.say(Welcome, { version: 1, features: Uint8Array.of(7) });
          this.#down.push(this.#behaviour.answer ?? joinedMessage());
        }
      },
      finish: async () => this.end({ kind: "byServer", number: 0, text: "left" }),
    };
    return { send, receive: { read: () => this.#down.read(), stop: () => {} } };
  }

  async openStream(): Promise<SendStream> {
    return {
      write: async (bytes) => {
        this.lanes.push(bytes);
        if (this.#behaviour.holdsWrites) {
          await new Promise<void>((resolve) => this.#held.push(resolve));
        }
      },
      finish: async () => {},
    };
  }

  accept(): Promise<ReceiveStream | undefined> {
    return this.#accepted.read();
  }

  receiveDatagram(): Promise<Uint8Array | undefined> {
    return this.#received.read();
  }

  sendDatagram(): void {
    this.datagrams += 1;
  }

  close(code: number): void {
    this.closedWith ??= code;
    [this.#down, this.#accepted, this.#received].forEach((pipe) => pipe.end());
    this.end({ kind: "byClient" });
  }
}

/** Returns the answer to a join. */
export function joinedMessage(): Uint8Array {
  return encodeMessage(Joined, {
    peer: 1,
    slot: 1,
    roster: [
      { peer: 1, slot: 1 },
      { peer: 2, slot: 2 },
    ],
    rosterVersion: 1,
    linkId: 9,
    ticket: utf8("ticket"),
    room: utf8("lobby"),
    roomInstance: new Uint8Array(8),
  });
}

/** Joins a room at a fake server. */
export function join(carrier: Carrier, more: Partial<ConnectOptions> = {}): Promise<Room> {
  return connect({ server: "server:1", token: TOKEN, room: "lobby", carrier, ...more });
}

/** Lets everything happen that does not wait for time. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}
