// A model of a server's end of a social session: it reads what the client writes on its control
// stream, and answers by hand.

import { SocialClient } from "../../src/social/index.js";
import type { SocialEvent } from "../../src/social/index.js";
import type { ClientOptions } from "../../src/session/step.js";
import { Writer } from "../../src/wire/codec.js";
import { Welcome } from "../../src/wire/handshake.js";
import { readHeader } from "../../src/wire/header.js";
import type { Init, StructKind } from "../../src/wire/kinds.js";
import { MAX_CONTROL_MESSAGE } from "../../src/wire/limits.js";
import type { Schema } from "../../src/wire/schema.js";
import { decodeBody, encodeMessage, HEADER_BYTES } from "../../src/wire/schema.js";
import { Entered } from "../../src/wire/social.js";

/** A message that the client has written. */
export interface Written {
  readonly schema: Schema;
  readonly body: Uint8Array;
}

/** A client with a model of its server. */
export class Pair {
  now = 0;
  readonly client: SocialClient;
  /** How often the client was told to connect, to close, or asked for a token. */
  connects = 0;
  closes: number[] = [];
  tokensWanted = 0;

  constructor(options: Partial<ClientOptions> = {}) {
    const enter = { token: "t", name: "", status: "online", agent: "test" } as const;
    const config = { patienceMs: 60_000, hasTokenProvider: false, random: () => 0, ...options };
    this.client = new SocialClient(0, "server:5055", enter, config);
  }

  /** Carries out the client's outputs. Returns the messages that it has written. */
  run(): Written[] {
    const out = new Writer();
    for (let output = this.client.poll(); output; output = this.client.poll()) {
      if (output.kind === "connect") {
        this.connects += 1;
        this.client.handle(this.now, { kind: "connected", maxDatagramSize: 0 });
      } else if (output.kind === "close") {
        this.closes.push(output.code);
      } else if (output.kind === "tokenWanted") {
        this.tokensWanted += 1;
      } else if (output.kind === "stream") {
        const { target, bytes } = output as { target: "control"; bytes?: Uint8Array };
        out.bytes(bytes ?? new Uint8Array(0));
        this.client.handle(this.now, { kind: bytes ? "written" : "finished", target });
      }
    }
    return messagesOf(out.copy());
  }

  /** Sends a message to the client. */
  send<S extends Schema>(schema: S, value: Init<StructKind<S["fields"]>>): void {
    const bytes = encodeMessage(schema, value);
    this.client.handle(this.now, { kind: "bytes", source: "control", bytes });
  }

  /** Lets the client enter. Returns what it has written. */
  enter(entered: Init<StructKind<(typeof Entered)["fields"]>> = {}): Written[] {
    const first = this.run();
    this.send(Welcome, { version: 1 });
    this.send(Entered, entered);
    return [...first, ...this.run()];
  }

  /** Breaks the connection. */
  lose(): void {
    this.client.handle(this.now, { kind: "closed", end: { kind: "lost", text: "gone" } });
  }

  /**
   * Moves on by so many ms, and does what is due meanwhile. Returns what the client has written.
   */
  pass(ms: number): Written[] {
    const end = this.now + ms;
    const written: Written[] = [];
    while (this.client.deadline() <= end) {
      this.now = Math.max(this.now, this.client.deadline());
      this.client.handleTimeout(this.now);
      written.push(...this.run());
    }
    this.now = end;
    return written;
  }

  /** Takes all events. */
  events(): SocialEvent[] {
    const events: SocialEvent[] = [];
    for (let event = this.client.takeEvent(this.now); event; ) {
      events.push(event);
      event = this.client.takeEvent(this.now);
    }
    return events;
  }
}

/** Splits what was written into its messages. The type byte of a new stream is left out. */
function messagesOf(bytes: Uint8Array): Written[] {
  const messages: Written[] = [];
  // A new control stream begins with the byte 1, and `Hello`, which is shorter than 256 bytes.
  let at = bytes[0] === 1 && bytes[5] === 0 && bytes[6] === 1 ? 1 : 0;
  while (at < bytes.length) {
    const start = at + HEADER_BYTES;
    const { schema, length } = readHeader(bytes.subarray(at, start), MAX_CONTROL_MESSAGE);
    messages.push({ schema, body: bytes.subarray(start, start + length) });
    at = start + length;
  }
  return messages;
}

/** Returns the only message of this schema, decoded. */
export function only<S extends Schema>(schema: S, written: readonly Written[]) {
  const bodies = written.filter((message) => message.schema === schema);
  if (bodies.length !== 1) {
    throw new Error(`${bodies.length} messages of schema ${schema.schema} were written`);
  }
  return decodeBody(schema, bodies[0]?.body ?? new Uint8Array(0));
}
