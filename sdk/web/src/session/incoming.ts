/**
 * The streams that a server writes: which messages may come on them, and in which order they are
 * handed on.
 */

import { STREAM_STATE } from "../wire/handshake.js";
import { MAX_CONTROL_MESSAGE, MAX_EVENT_MESSAGE, MAX_STATE } from "../wire/limits.js";
import { EventDown } from "../wire/messages.js";
import { type Lane, laneOfStream } from "../wire/messaging.js";
import { decodeBody, type Schema } from "../wire/schema.js";
import { StateSnapshot, StateUpdate } from "../wire/state.js";
import { MessageBuffer, type RawMessage } from "./buffer.js";
import { ProtocolError } from "./error.js";
import { LANES } from "./outgoing.js";

/** A stream on which the server writes: control, or the number that the caller has chosen. */
export type StreamSource = "control" | number;

/** A message from the server. */
export type ReceivedItem =
  /** A message on the control stream. */
  | { kind: "control"; schema: Schema; body: Uint8Array }
  /**
   * An event, or a piece of a bulk message. The roster is at least as new as when the sender sent
   * it.
   */
  | { kind: "event"; lane: Lane; event: EventDown }
  /**
   * The whole state of the room. Comes at most once a session and before all updates. Without a
   * snapshot, the state is empty and has version 0.
   */
  | { kind: "snapshot"; snapshot: StateSnapshot }
  /** The next version of the state. Versions have no gaps. */
  | { kind: "update"; update: StateUpdate };

/** A stream that the server has opened. Its use is unknown until its type byte has come. */
interface OpenedStream {
  number: number;
  use: "unknown" | "state" | Lane;
  buffer: MessageBuffer;
}

/** The server's streams of one session. */
export class IncomingStreams {
  /** The common set of features. */
  features = 0;
  /** The version of the client's roster. */
  rosterVersion = 0;
  /** Largest sequence of an event that was handed on, by lane. */
  lastSequences: [bigint, bigint] = [0n, 0n];
  /** Whether the server has ended a stream. The connection's close should follow. */
  hasEndedStream = false;
  readonly control = new MessageBuffer();
  /** At most three used streams and one whose use is unknown. */
  _opened: OpenedStream[] = [];
  /** Uses of which the server has opened a stream. It may do so once. */
  _uses = new Set<OpenedStream["use"]>();
  /** The version of the state that was handed on last; `undefined` before the snapshot. */
  _stateVersion: bigint | undefined;
  /** The event of each lane that waits for a newer roster. Until then the lane is not read. */
  _waiting: [EventDown | undefined, EventDown | undefined] = [undefined, undefined];
  /** Streams that the caller must stop. */
  _refused: number[] = [];

  /** Returns whether bytes of the stream are wanted now. */
  wants(source: StreamSource): boolean {
    if (source === "control") {
      return !this.control.hasEnded;
    }
    const stream = this._opened.find((stream) => stream.number === source);
    return (
      stream !== undefined &&
      !stream.buffer.hasEnded &&
      !(typeof stream.use === "number" && this._waiting[stream.use])
    );
  }

  /** Returns whether another stream may be accepted: one at a time has an unknown use. */
  wantsStream(): boolean {
    return this._opened.every((stream) => stream.use !== "unknown");
  }

  /** Adds a stream that the server has opened. */
  open(number: number): void {
    this._opened.push({ number, use: "unknown", buffer: new MessageBuffer() });
  }

  /** Adds bytes of a stream. Those of a refused stream are dropped. */
  push(source: StreamSource, bytes: Uint8Array): void {
    this._buffer(source)?.push(bytes);
  }

  /** Notes the end of a stream. */
  end(source: StreamSource, isBroken: boolean): void {
    this._buffer(source)?.end(isBroken);
  }

  _buffer(source: StreamSource): MessageBuffer | undefined {
    return source === "control"
      ? this.control
      : this._opened.find((stream) => stream.number === source)?.buffer;
  }

  /** Returns a stream that the caller must stop: its type is unknown, or the second of its kind. */
  takeRefused(): number | undefined {
    return this._refused.shift();
  }

  /**
   * Returns the next message; `undefined` if there is none now.
   *
   * Throws if the server has broken the protocol. The session must then be closed.
   */
  next(): ReceivedItem | undefined {
    for (;;) {
      const event = this._takeWaiting();
      if (event) {
        return event;
      }
      const message = this.control.next(MAX_CONTROL_MESSAGE);
      if (message === "ended") {
        this.hasEndedStream = true;
      } else if (message !== "incomplete") {
        if (!this._allows(message.schema)) {
          throw unexpected(message.schema);
        }
        return { kind: "control", ...message };
      }
      this._classify();
      const item = this._nextOfState();
      if (item) {
        return item;
      }
      if (!LANES.some((lane) => this._readLane(lane))) {
        return undefined;
      }
    }
  }

  /** Returns whether a message of this schema may travel in this session. */
  _allows(schema: Schema): boolean {
    return (schema.feature & ~this.features) === 0;
  }

  /** Takes a waiting event if the roster is new enough for it. */
  _takeWaiting(): ReceivedItem | undefined {
    for (const lane of LANES) {
      const event = this._waiting[lane];
      // Versions wrap, so they are compared by their difference.
      if (event && ((event.rosterVersion - this.rosterVersion) | 0) <= 0) {
        this._waiting[lane] = undefined;
        if (event.sequence > this.lastSequences[lane]) {
          this.lastSequences[lane] = event.sequence;
        }
        return { kind: "event", lane, event };
      }
    }
    return undefined;
  }

  /**
   * Finds out the use of a new stream. A second stream of a lane is refused like an unknown type,
   * because the order between two streams is undefined.
   */
  _classify(): void {
    const stream = this._opened.find((stream) => stream.use === "unknown");
    const kind = stream?.buffer.takeKind();
    if (!stream || (kind === undefined && !stream.buffer.hasEnded)) {
      return;
    }
    const use = kind === STREAM_STATE ? "state" : laneOfStream(kind ?? 0);
    if (use === "state") {
      if (!this._allows(StateUpdate)) {
        throw unexpected(StateSnapshot);
      }
      // A second state stream is an error, because the two could contradict each other.
      if (this._uses.has(use)) {
        throw new ProtocolError("a session has one state stream, this is a second");
      }
    }
    if (use === undefined || this._uses.has(use)) {
      this._remove(stream);
      this._refused.push(stream.number);
      return;
    }
    this._uses.add(use);
    stream.use = use;
  }

  _remove(stream: OpenedStream): void {
    this._opened = this._opened.filter((other) => other !== stream);
  }

  /** Takes the next message of the stream with this use, if there is one. */
  _take(use: OpenedStream["use"], limit: number): RawMessage | undefined {
    const stream = this._opened.find((stream) => stream.use === use);
    const message = stream?.buffer.next(limit);
    if (stream && message === "ended") {
      this.hasEndedStream = true;
      this._remove(stream);
    }
    return typeof message === "string" ? undefined : message;
  }

  _nextOfState(): ReceivedItem | undefined {
    const message = this._take("state", MAX_STATE);
    if (!message) {
      return undefined;
    }
    const { schema, body } = message;
    const version = this._stateVersion;
    if (version === undefined && schema === StateSnapshot) {
      const snapshot = decodeBody(StateSnapshot, body);
      this._stateVersion = snapshot.version;
      return { kind: "snapshot", snapshot };
    }
    if (version !== undefined && schema === StateUpdate) {
      const update = decodeBody(StateUpdate, body);
      const expected = BigInt.asUintN(64, version + 1n);
      if (update.version !== expected) {
        throw new ProtocolError(
          `received version ${update.version} of the state, expected ${expected}`,
        );
      }
      this._stateVersion = expected;
      return { kind: "update", update };
    }
    throw unexpected(schema);
  }

  /** Reads the next event of a lane. Returns whether there was one. */
  _readLane(lane: Lane): boolean {
    const message = this._waiting[lane] ? undefined : this._take(lane, MAX_EVENT_MESSAGE);
    if (!message) {
      return false;
    }
    if (message.schema !== EventDown) {
      throw unexpected(message.schema);
    }
    this._waiting[lane] = decodeBody(EventDown, message.body);
    return true;
  }
}

/** Returns the error of a message that came where it is not allowed. */
export function unexpected({ schema }: Schema): ProtocolError {
  return new ProtocolError(`a message of schema ${schema} does not belong there`);
}
