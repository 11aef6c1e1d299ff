/** The methods of a `Room` that send: events, requests to peers, and realtime messages. */

import type { OutgoingMessage } from "./realtime/message.js";
import type { VoicePacket } from "./room/event.js";
import type { PeerId } from "./room/roster.js";
import { RoomShell, valueOf } from "./room-shell.js";
import { type RpcFault, rpcTimedOut } from "./rpc/error.js";
import { localError } from "./session/error.js";
import { checkBytes, checkSize, copyOf, type To } from "./session/to.js";
import type { WaitingLine } from "./waiting.js";
import { Writer } from "./wire/codec.js";
import { type MessageKind, POINTER, POSE, UNRELIABLE, VOICE } from "./wire/frame.js";
import { MAX_BULK_MESSAGE, MAX_EVENT_PAYLOAD, MAX_PAYLOAD } from "./wire/limits.js";
import { checkPose, encodePose, type Pose } from "./wire/pose.js";
import { END_TO_END, LOWEST_LEVEL, putVoice, SPURT_START } from "./wire/voice.js";

/** How long a request to a peer waits for its answer by default, in ms. */
const RPC_TIMEOUT_MS = 10_000;

/** Where a realtime message goes, and how the application tells it from others. */
export interface MessageOptions {
  /** The others (the default), one peer, the host or a group. */
  to?: To;
  /** The application's channel, 0 to 255. Default: 0. */
  channel?: number;
  /** The application's key within the channel, 0 to 65,535. Default: 0. */
  key?: number;
}

/**
 * The half of a room that sends.
 *
 * Realtime messages (poses, pointers, voice, unreliable messages) are for now or never. One that
 * cannot be sent is dropped and counted, see `unsent` in the counters of `stats`: without a
 * session, after the close, to a peer that has left, and without a host. They throw only for
 * mistakes of the caller: "tooLarge", "invalidArgument" or "invalidTarget".
 */
export class RoomMessages extends RoomShell {
  /**
   * Sends a reliable, ordered event of at most 16 KiB on a channel below 240. Waits while the room
   * takes events more slowly than they are sent, and while the room does not acknowledge them. At
   * most 1,024 calls wait; a further one rejects with "tooMany". So await each call, or use
   * {@link trySendEvent}. `to` and `payload` are copied: the caller may use them again at once.
   *
   * If the session is lost, the event is sent after the resume. If the client rejoins as a new
   * peer instead, events that were already written are lost, and so are events for named peers of
   * an earlier room instance.
   */
  sendEvent(to: To, channel: number, payload: Uint8Array): Promise<void> {
    return this._send(this._eventLine, to, payload, (now, to, payload) =>
      this._client.sendEvent(now, to, channel, payload),
    );
  }

  /**
   * Sends an event as {@link sendEvent} does, or throws "wouldBlock" where that would wait: for
   * programs that rather leave out an event than send it late.
   */
  trySendEvent(to: To, channel: number, payload: Uint8Array): void {
    checkBytes(payload);
    if (!this._eventLine.isFree()) {
      throw localError("wouldBlock", "too many events wait to be sent; try again later");
    }
    this._driver.run((now) => this._client.sendEvent(now, to, channel, payload));
  }

  /**
   * Sends an event that names its type, for example "door.opened", instead of a channel. Otherwise
   * works like {@link sendEvent}. Type and payload have at most 16,383 bytes together.
   */
  sendTypedEvent(to: To, type: string, payload: Uint8Array): Promise<void> {
    return this._send(this._eventLine, to, payload, (now, to, payload) =>
      this._client.sendTypedEvent(now, to, type, payload),
    );
  }

  /**
   * Sends a reliable message of at most 64 KiB on the bulk lane. Bulk messages are in order among
   * themselves; they and events do not wait for each other. Not for `"later"`. Otherwise waits and
   * copies as {@link sendEvent} does.
   */
  sendBulk(to: To, channel: number, payload: Uint8Array): Promise<void> {
    return this._send(this._bulkLine, to, payload, (now, to, payload) =>
      this._client.sendBulk(now, to, channel, payload),
    );
  }

  /** Sends as soon as the line of a lane has capacity. Copies what waits. */
  async _send(
    line: WaitingLine,
    to: To,
    payload: Uint8Array,
    send: (now: number, to: To, payload: Uint8Array) => void,
  ): Promise<void> {
    checkBytes(payload);
    if (line.isFree()) {
      return this._driver.run((now) => send(now, to, payload));
    }
    checkSize(to, payload.length, line === this._bulkLine ? MAX_BULK_MESSAGE : MAX_EVENT_PAYLOAD);
    const [ownTo, own] = [copyOf(to), payload.slice()];
    return this._begin(line, (now) => send(now, ownTo, own));
  }

  /**
   * Asks a peer, and waits for its answer. The peer receives the event "rpcRequest".
   *
   * `method` is 1 to 64 bytes of text. `timeoutMs` is 1 to 60,000, counted from this call: also
   * while the session is lost, and while too many requests or events wait. A peer whose client
   * knows no RPC does not answer, so the request times out. `payload` is copied.
   *
   * Rejects with "noSuchMethod", "peerBusy", "rpcFault" (see `number` and `text`), "rpcTimedOut",
   * "peerLeft", "interrupted", "closed", or an error of {@link sendEvent}.
   */
  async rpc(
    to: PeerId,
    method: string,
    payload: Uint8Array,
    options: { timeoutMs?: number } = {},
  ): Promise<Uint8Array> {
    const timeoutMs = options.timeoutMs ?? RPC_TIMEOUT_MS;
    const ends = this._driver.now() + timeoutMs;
    checkBytes(payload);
    checkSize("host", payload.length, MAX_EVENT_PAYLOAD);
    const call = { to, method, payload: payload.slice() };
    const begin = (now: number) => {
      const left = timeoutMs > 0 ? ends - now : timeoutMs;
      if (timeoutMs > 0 && left <= 0) {
        throw rpcTimedOut();
      }
      return this._client.rpc(now, { ...call, timeoutMs: left });
    };
    const line = new AbortController();
    const timeOut = () => line.abort(rpcTimedOut());
    // While the request is in no line, the client looks at its time.
    const cancel = this._driver.after(Math.min(timeoutMs, 2 ** 31 - 1), timeOut);
    try {
      await this._begin(this._rpcLine, () => (this._rpcs += 1), line.signal);
    } catch (error) {
      cancel();
      throw error;
    }
    try {
      const number = await this._begin(this._eventLine, begin, line.signal);
      cancel();
      return valueOf(await this._driver.waitFor(() => this._client.rpcs.take(number)));
    } finally {
      cancel();
      this._rpcs -= 1;
      // Serves those who wait for its place.
      this._driver.run(() => {});
    }
  }

  /**
   * Answers the request of a peer, the event "rpcRequest", with at most 16,377 bytes. Never
   * waits. May be called in any order, and much later, but only once.
   *
   * Throws "notWaiting" if the caller does not wait any more, or "wouldBlock".
   */
  answerRpc(id: number, payload: Uint8Array): void {
    checkBytes(payload);
    this._driver.run((now) => this._client.answerRpc(now, id, payload));
  }

  /**
   * Answers the request of a peer with a failure: a code of the application from 256 on,
   * "noSuchMethod" or "busy", and a text for a person.
   */
  failRpc(id: number, code: RpcFault["code"], text = ""): void {
    this._driver.run((now) => this._client.answerRpc(now, id, { code, text }));
  }

  /**
   * Sends the pose of head and hands to all other peers, or to `options.to`. Only the newest pose
   * of a key is delivered. A client with several bodies gives each a key. `rest` is up to the
   * application: with the pose at most 900 bytes.
   *
   * Throws "invalidArgument" if a number is not finite or out of range: the others would see the
   * avatar jump. The head may be 8,388.607 m from the origin in each axis, and a hand 2.047 m
   * from the head.
   */
  sendPose(pose: Pose, options: MessageOptions & { rest?: Uint8Array } = {}): void {
    const problem = checkPose(pose);
    if (problem) {
      throw localError("invalidArgument", `the pose cannot be sent: ${POSE_PROBLEMS[problem]}`);
    }
    const { rest = new Uint8Array(0) } = options;
    checkBytes(rest);
    const out = new Writer();
    out.bytes(encodePose(pose));
    out.bytes(rest);
    this._sendRealtime(POSE, true, out.copy(), options);
  }

  /**
   * Sends a pointer or cursor, at most 900 bytes. Only the newest one of each channel and key is
   * delivered.
   */
  sendPointer(payload: Uint8Array, options: MessageOptions = {}): void {
    checkBytes(payload);
    this._sendRealtime(POINTER, true, payload.slice(), options);
  }

  /**
   * Sends an unreliable message of at most 900 bytes. It may be lost or arrive out of order, and
   * does not replace earlier ones.
   */
  sendUnreliable(payload: Uint8Array, options: MessageOptions = {}): void {
    checkBytes(payload);
    this._sendRealtime(UNRELIABLE, false, payload.slice(), options);
  }

  /**
   * Sends an unreliable message of at most 900 bytes that replaces earlier ones of the same
   * channel and key, for example an object's number.
   */
  sendNewest(payload: Uint8Array, options: MessageOptions = {}): void {
    checkBytes(payload);
    this._sendRealtime(UNRELIABLE, true, payload.slice(), options);
  }

  /**
   * Sends an Opus packet of at most 898 bytes to all other peers, or to `options.to`. Does nothing
   * while this client has muted itself.
   */
  sendVoice(packet: VoicePacket, options: { to?: To } = {}): void {
    const { level, speaking, opus } = packet;
    checkBytes(opus);
    if (!Number.isInteger(level) || level < 0 || level > LOWEST_LEVEL) {
      throw localError("invalidArgument", `a voice level is 0 to ${LOWEST_LEVEL}, in -dBov`);
    }
    const spurt = packet.spurtStart ? SPURT_START : 0;
    const flags = spurt | (packet.endToEnd ? END_TO_END : 0);
    const out = new Writer();
    putVoice(out, { level, speaking, flags, opus });
    if (!this._isSelfMuted) {
      this._sendRealtime(VOICE, false, out.copy(), options);
    }
  }

  _sendRealtime(
    kind: MessageKind,
    newestWins: boolean,
    payload: Uint8Array,
    { to = "others", channel = 0, key = 0 }: MessageOptions,
  ): void {
    if (payload.length > MAX_PAYLOAD) {
      const text = `a payload of ${payload.length} bytes is over the limit of ${MAX_PAYLOAD}`;
      throw localError("tooLarge", text);
    }
    if (!isWhole(channel, 0xff) || !isWhole(key, 0xffff)) {
      throw localError("invalidArgument", "a channel is 0 to 255, and a key 0 to 65,535");
    }
    const target = this._client.realtimeTarget(to);
    if (target === undefined || this.isClosed) {
      this._unsent += 1;
      return;
    }
    const message: OutgoingMessage = { kind, newestWins, target, channel, key, payload };
    this._plane.send(message);
    this._flushSoon();
  }

  /** Sends what was given in this task together, in as few datagrams as possible. */
  _flushSoon(): void {
    if (!this._isFlushing) {
      this._isFlushing = true;
      queueMicrotask(() => {
        this._isFlushing = false;
        this._driver.run((now) => this._flush(now));
      });
    }
  }
}

/** What is wrong with a pose, as texts of errors say it. */
const POSE_PROBLEMS = {
  shape: "each part has a position [x, y, z] and a rotation [x, y, z, w]",
  notFinite: "a number is not finite",
  headOutOfRange: "the head is too far from the origin",
  handOutOfRange: "a hand is too far from the head",
  rotation: "a rotation has no direction",
} as const;

function isWhole(number: number, most: number): boolean {
  return Number.isInteger(number) && number >= 0 && number <= most;
}
