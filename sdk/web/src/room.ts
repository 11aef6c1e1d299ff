/** `Room`: a joined room as an application uses it. */

import { type DriverOptions, SessionDriver } from "./driver.js";
import type { ShownPose } from "./playback/interpolation.js";
import type { VoiceStep } from "./playback/voice.js";
import type { OutgoingMessage, PeerPose, RealtimeCounters } from "./realtime/message.js";
import { RealtimePlane } from "./realtime/plane.js";
import type { ConnectionFigures } from "./realtime/quality.js";
import type { SentSequences } from "./realtime/sent.js";
import type { RoomClient } from "./room/client.js";
import type { RoomOutput } from "./room/core.js";
import { realtimeEvent, type RoomEvent, type VoicePacket } from "./room/event.js";
import type { RequestResult } from "./room/requests.js";
import type { Peer, PeerId } from "./room/roster.js";
import { roomClosed } from "./room/send.js";
import type { RpcFault } from "./rpc/error.js";
import { localError, NucleusError } from "./session/error.js";
import { ticketToText } from "./session/ticket.js";
import type { To } from "./session/to.js";
import { trimmed } from "./session/token.js";
import type { Batch } from "./state/batch.js";
import type { EntityId, ObjectId } from "./state/entity.js";
import type { Field, StateObject } from "./state/replica.js";
import { Writer } from "./wire/codec.js";
import { type MessageKind, POINTER, POSE, UNRELIABLE, VOICE } from "./wire/frame.js";
import { MAX_PAYLOAD } from "./wire/limits.js";
import { ACTS } from "./wire/messaging.js";
import { checkPose, encodePose, type Pose } from "./wire/pose.js";
import { END_TO_END, LOWEST_LEVEL, putVoice, SPURT_START } from "./wire/voice.js";

/**
 * Most events that one {@link Room.poll} returns: those of a second in the largest rooms. So one frame
 * ends although others send faster than the application runs.
 */
const EVENTS_PER_POLL = 4_096;
/** Interval of `Ping` of a session without a realtime plane, in ms. */
const PING_MS = 7_500;
/** Longest time of an RPC that waits for a free place before it is sent, in ms. */
const MS_PER_S = 1_000;

/** Counters of a room since the join. */
export interface RoomStats {
  /** Messages dropped by the rules of the realtime plane. */
  realtime: RealtimeCounters;
  /** Messages of the bulk lane that could not be assembled. */
  bulkDropped: number;
  /** Events that were dropped because the client came back to a server that takes only smaller ones. */
  tooLargeEvents: number;
  /** Requests of peers, answers and typed events that were ignored because they were malformed. */
  malformedEvents: number;
}

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
 * A room that this client has joined, returned by `connect`.
 *
 * A program with frames calls {@link poll} and {@link shownPoses} once a frame; others receive with
 * {@link next} or `for await`. The client resumes a lost session by itself, see the event
 * "interrupted". Methods throw, or reject with, a `NucleusError`.
 */
export class Room {
  _driver: SessionDriver<RoomOutput, RoomClient>;
  _client: RoomClient;
  _plane: RealtimePlane;
  _isSelfMuted = false;
  /** Whether the application has taken the event "closed". */
  _isOver = false;
  /** Whether the session has a realtime plane. */
  _hasPlane = false;
  _pingAt = Infinity;
  _isFlushing = false;

  /** @internal */
  constructor(client: RoomClient, options: DriverOptions, sent: SentSequences | undefined) {
    this._client = client;
    this._plane = new RealtimePlane(sent);
    this._driver = new SessionDriver<RoomOutput, RoomClient>(client, options, {
      output: (now, output) => this._carryOut(now, output),
      datagram: (now, bytes) => {
        this._plane.datagram(now, bytes);
        this._flush(now);
      },
      handleTimeout: (now) => {
        this._plane.handleTimeout(now);
        this._flush(now);
        this._ping(now);
      },
      deadline: () => Math.min(this._plane.deadline(), this._pingAt),
      woken: (now) => {
        this._plane.networkChanged();
        this._flush(now);
      },
    });
  }

  /** Waits until the client has joined. @internal */
  static async _join(
    client: RoomClient,
    options: DriverOptions,
    sent: SentSequences | undefined,
  ): Promise<Room> {
    const room = new Room(client, options, sent);
    await room._driver.waitFor(() => {
      if (client.failure) {
        throw client.failure;
      }
      return client.hasJoined || undefined;
    });
    return room;
  }

  _carryOut(now: number, output: RoomOutput): void {
    switch (output.kind) {
      case "link":
        this._plane.granted(now, output.link, output.isSameRoom);
        this._hasPlane = output.link.link !== undefined;
        this._pingAt = this._hasPlane ? Infinity : now + PING_MS;
        break;
      case "linkLost":
        this._plane.disconnect();
        this._pingAt = Infinity;
        return;
      case "peerJoined":
        this._plane.addPeer(now, output.slot, output.peer);
        break;
      case "peerLeft":
        this._plane.removePeer(output.slot, output.peer);
        break;
    }
    this._flush(now);
  }

  /** Sends the datagrams that are due. */
  _flush(now: number): void {
    for (let datagram; (datagram = this._plane.takeDatagram(now)); ) {
      this._driver.sendDatagram(datagram);
    }
  }

  /** Keeps a session without datagrams alive. */
  _ping(now: number): void {
    if (this._pingAt <= now) {
      this._client.session.ping();
      this._pingAt = now + PING_MS;
    }
  }

  /** This client's peer id. It changes with the event "rejoined". */
  get me(): PeerId {
    return this._client.me;
  }

  /** The room's name. The server may have chosen it. */
  get name(): string {
    return this._client.roomName;
  }

  /** Whether the room is closed, or this client has left. */
  get isClosed(): boolean {
    return this._client.isClosed;
  }

  /** Returns all other peers of the room, in the order in which they joined. */
  peers(): Peer[] {
    return this._client.roster.all().filter((peer) => peer.id !== this.me);
  }

  /** Returns the peer with this id, if it is in the room. Also finds this client itself. */
  peer(id: PeerId): Peer | undefined {
    return this._client.roster.peer(id);
  }

  /**
   * Returns the events since the last call, without poses: {@link shownPoses} has those. Never waits.
   * For programs that do their work once a frame.
   */
  poll(): RoomEvent[] {
    const events: RoomEvent[] = [];
    for (let event; events.length < EVENTS_PER_POLL && (event = this._take(false)); ) {
      events.push(event);
    }
    return events;
  }

  /**
   * Waits for the next event. Resolves with `undefined` after the event "closed".
   *
   * Roster changes and reliable events are returned before realtime events, so a peer's join comes
   * before its first pose. Reliable events are never dropped. Of realtime messages that the
   * application has not taken, only those that are still of use are returned: the newest pose of each
   * peer, and voice of the last 400 ms.
   */
  async next(): Promise<RoomEvent | undefined> {
    const found = await this._driver.waitFor(() => {
      const event = this._take(true);
      return event || this._isOver ? { event } : undefined;
    });
    return found.event;
  }

  /** Iterates over the events, up to "closed". */
  async *[Symbol.asyncIterator](): AsyncGenerator<RoomEvent, void, undefined> {
    for (let event; (event = await this.next()); ) {
      yield event;
    }
  }

  /** Takes the next event. Drops poses if they are not wanted. */
  _take(wantsPoses: boolean): RoomEvent | undefined {
    if (this._isOver) {
      return undefined;
    }
    const event = this._driver.run((now) => this._client.takeEvent(now));
    if (!event) {
      return this._takeRealtime(wantsPoses);
    }
    this._isOver = event.kind === "closed";
    return event;
  }

  _takeRealtime(wantsPoses: boolean): RoomEvent | undefined {
    const now = this._driver.now();
    const report = this._plane.takeReport();
    if (report) {
      return report;
    }
    for (let message; (message = this._plane.pop(now)); ) {
      // A malformed pose or voice packet is no event.
      const isWanted = wantsPoses || message.kind !== POSE;
      const event = isWanted ? realtimeEvent(message) : undefined;
      if (event) {
        return event;
      }
    }
    return undefined;
  }

  /**
   * Sends a reliable, ordered event of at most 16 KiB on a channel below 240. Waits while the room
   * takes events more slowly than they are sent, and while the room does not acknowledge them.
   *
   * If the session is lost, the event is sent after the resume. If the client rejoins as a new peer
   * instead, events that were already written are lost, and so are events for named peers of an earlier
   * room instance.
   */
  sendEvent(to: To, channel: number, payload: Uint8Array): Promise<void> {
    return this._send((now) => this._client.sendEvent(now, to, channel, payload));
  }

  /**
   * Sends an event that names its type, for example "door.opened", instead of a channel. Otherwise
   * works like {@link sendEvent}. Type and payload have at most 16,383 bytes together.
   */
  sendTypedEvent(to: To, type: string, payload: Uint8Array): Promise<void> {
    return this._send((now) => this._client.sendTypedEvent(now, to, type, payload));
  }

  /**
   * Sends a reliable message of at most 64 KiB on the bulk lane. Bulk messages are in order among
   * themselves; they and events do not wait for each other. Not for `"later"`.
   */
  sendBulk(to: To, channel: number, payload: Uint8Array): Promise<void> {
    return this._send((now) => this._client.sendBulk(now, to, channel, payload));
  }

  async _send(send: (now: number) => void): Promise<void> {
    await this._driver.waitFor((now) => {
      try {
        send(now);
        return true;
      } catch (error) {
        return ifPasses(error);
      }
    });
  }

  /**
   * Asks a peer, and waits for its answer. The peer receives the event "rpcRequest".
   *
   * `method` is 1 to 64 bytes of text. `timeoutMs` is 1 to 60,000, counted from this call: also while
   * the session is lost, and while too many requests or events wait. A peer whose client knows no RPC
   * does not answer, so the request times out.
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
    const timeoutMs = options.timeoutMs ?? 10 * MS_PER_S;
    const ends = this._driver.now() + timeoutMs;
    const wakes = this._driver.sleep(Math.min(timeoutMs, 2 ** 31 - 1));
    void wakes.then(() => this._driver.run(() => {}));
    const number = await this._driver.waitFor((now) => {
      const left = timeoutMs > 0 ? ends - now : timeoutMs;
      if (timeoutMs > 0 && left <= 0) {
        throw localError("rpcTimedOut", "the peer did not answer in time");
      }
      try {
        return this._client.rpc(now, { to, method, payload, timeoutMs: left });
      } catch (error) {
        return ifPasses(error);
      }
    });
    const result = await this._driver.waitFor(() => this._client.rpcs.take(number));
    // Wakes those who wait for its place.
    this._driver.run(() => {});
    return valueOf(result);
  }

  /**
   * Answers the request of a peer, the event "rpcRequest", with at most 16,377 bytes. Never waits. May
   * be called in any order, and much later, but only once.
   *
   * Throws "notWaiting" if the caller does not wait any more, or "wouldBlock".
   */
  answerRpc(id: number, payload: Uint8Array): void {
    this._driver.run((now) => this._client.answerRpc(now, id, payload));
  }

  /**
   * Answers the request of a peer with a failure: a code of the application from 256 on, "noSuchMethod"
   * or "busy", and a text for a person.
   */
  failRpc(id: number, code: RpcFault["code"], text = ""): void {
    this._driver.run((now) => this._client.answerRpc(now, id, { code, text }));
  }

  /**
   * Sends the pose of head and hands to all other peers, or to `options.to`. Only the newest pose of a
   * key is delivered. A client with several bodies gives each a key. `rest` is up to the application:
   * with the pose at most 900 bytes.
   *
   * Throws "invalidArgument" if a number is not finite or out of range: the others would see the avatar
   * jump. The head may be 8,388.607 m from the origin in each axis, and a hand 2.047 m from the head.
   */
  sendPose(pose: Pose, options: MessageOptions & { rest?: Uint8Array } = {}): void {
    const problem = checkPose(pose);
    if (problem) {
      throw localError("invalidArgument", `the pose cannot be sent: ${POSE_PROBLEMS[problem]}`);
    }
    const out = new Writer();
    out.bytes(encodePose(pose));
    out.bytes(options.rest ?? new Uint8Array(0));
    this._sendRealtime(POSE, true, out.copy(), options);
  }

  /**
   * Sends a pointer or cursor, at most 900 bytes. Only the newest one of each channel and key is
   * delivered.
   */
  sendPointer(payload: Uint8Array, options: MessageOptions = {}): void {
    this._sendRealtime(POINTER, true, payload.slice(), options);
  }

  /**
   * Sends an unreliable message of at most 900 bytes. It may be lost or arrive out of order, and does
   * not replace earlier ones.
   */
  sendUnreliable(payload: Uint8Array, options: MessageOptions = {}): void {
    this._sendRealtime(UNRELIABLE, false, payload.slice(), options);
  }

  /**
   * Sends an unreliable message of at most 900 bytes that replaces earlier ones of the same channel and
   * key, for example an object's number.
   */
  sendNewest(payload: Uint8Array, options: MessageOptions = {}): void {
    this._sendRealtime(UNRELIABLE, true, payload.slice(), options);
  }

  /**
   * Sends an Opus packet of at most 898 bytes to all other peers, or to `options.to`. Does nothing
   * while this client has muted itself.
   */
  sendVoice(packet: VoicePacket, options: { to?: To } = {}): void {
    const { level, speaking, opus } = packet;
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
    if (this.isClosed) {
      throw roomClosed();
    }
    if (payload.length > MAX_PAYLOAD) {
      const text = `a payload of ${payload.length} bytes is over the limit of ${MAX_PAYLOAD}`;
      throw localError("tooLarge", text);
    }
    if (!isWhole(channel, 0xff) || !isWhole(key, 0xffff)) {
      throw localError("invalidArgument", "a channel is 0 to 255, and a key 0 to 65,535");
    }
    const target = this._client.realtimeTarget(to);
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

  /**
   * Returns the poses of everybody to show in this frame: interpolated between the poses that have
   * arrived, evenly in time, and a little later than they arrive. Poses are kept from the first call
   * on, so call it in each frame. The list and its objects are written again by the next call.
   */
  shownPoses(now = this._driver.now()): readonly ShownPose[] {
    return this._plane.shownPoses(now);
  }

  /** Returns the newest pose of each peer and key, whether smooth or not. */
  newestPoses(): PeerPose[] {
    return this._plane.poses();
  }

  /**
   * Returns what to play for the next 20 ms of a speaker. Call it for each speaker every 20 ms. From the
   * first call on, voice is kept here, and the event "voice" no longer comes.
   */
  playVoice(speaker: PeerId): VoiceStep {
    return this._plane.playVoice(this._driver.now(), speaker);
  }

  /** Returns the peers whose voice is kept for {@link playVoice}. */
  speakers(): Iterable<PeerId> {
    return this._plane.speakers();
  }

  /** Returns the peers that are speaking now, each with its level in -dBov. */
  speaking(): { peer: PeerId; level: number }[] {
    return this._plane.speaking();
  }

  /**
   * Mutes or unmutes this client. It stops sending voice at once, and the server tells the others. The
   * setting stays over a lost session. Resolves when the server has answered; at once, if the session
   * is lost.
   */
  setMuted(muted: boolean): Promise<void> {
    this._isSelfMuted = muted;
    const setting = this._driver.run((now) => this._client.setMuted(now, muted));
    return this._settle(() => this._client.mutedOutcome(setting));
  }

  /**
   * Subscribes to these groups, 0 to 239, and unsubscribes from all others. The setting stays over a
   * lost session. Resolves when the server has answered; at once, if the session is lost.
   */
  async subscribe(groups: readonly number[]): Promise<void> {
    const setting = this._driver.run((now) => this._client.subscribe(now, groups));
    await this._settle(() => this._client.groupsOutcome(setting));
  }

  /**
   * Hands in a fresh token of the same user, for example after the event "tokenWanted". The client uses
   * it when it joins again. The rights in this room stay as they are.
   */
  async renew(token: string): Promise<void> {
    const number = this._driver.run(() => this._client.renew(trimmed(token)));
    await this._settle(() => this._client.takeRenewal(number));
  }

  async _settle(outcome: () => true | NucleusError | undefined): Promise<void> {
    const result = await this._driver.waitFor(outcome);
    if (result !== true) {
      throw result;
    }
  }

  /** Returns a field of the room, a peer or an object, if it exists. */
  field(entity: EntityId, key: string): Field | undefined {
    return this._client.replica.field(entity, key);
  }

  /** Returns all fields of an entity. */
  fields(entity: EntityId): [string, Field][] {
    return this._client.replica.fields(entity);
  }

  /** Returns an object, if it exists. */
  object(id: ObjectId): StateObject | undefined {
    return this._client.replica.object(id);
  }

  /** Returns all objects in the order of their ids. */
  objects(): readonly StateObject[] {
    return this._client.replica.objects();
  }

  /**
   * The host: the chosen host while it is present, or else the present peer with the smallest id. All
   * clients that have received the same roster and state agree on it.
   */
  get host(): PeerId | undefined {
    return this._client.host;
  }

  /** The version of the state. */
  get stateVersion(): bigint {
    return this._client.replica.version;
  }

  /** Returns a new id for an object that this client will create. */
  newObjectId(): ObjectId {
    return this._client.newObjectId();
  }

  /**
   * Requests the changes of `batch`, which the server applies all together or not at all. Resolves with
   * the version of the state that contains them; this client's copy then contains them too.
   *
   * Unlike an event, a request is not repeated after a lost session: it rejects with "interrupted", and
   * it is unknown whether the change was applied. At most 16 requests are pending at the same time, and
   * further ones wait.
   */
  change(batch: Batch): Promise<bigint> {
    return this._request((now) => this._client.change(now, batch));
  }

  /**
   * Removes a peer from the room. With `banS`, at most a day, the user cannot join again until the ban
   * ends. Moderation needs a role or grant that allows it; otherwise the server refuses with
   * "forbidden".
   */
  kick(peer: PeerId, options: { banS?: number } = {}): Promise<void> {
    return this._moderate(ACTS.kick, peer, Math.ceil(options.banS ?? 0));
  }

  /** Mutes a peer, or ends its mute: the server drops its voice. */
  mutePeer(peer: PeerId, muted: boolean): Promise<void> {
    return this._moderate(muted ? ACTS.mute : ACTS.unmute, peer);
  }

  /** Mutes all peers that may not moderate, newcomers included, or ends all mutes. */
  muteAll(muted: boolean): Promise<void> {
    return this._moderate(muted ? ACTS.muteAll : ACTS.unmuteAll);
  }

  /** Locks or unlocks the room. Only moderators can join a locked room. */
  lock(locked: boolean): Promise<void> {
    return this._moderate(locked ? ACTS.lock : ACTS.unlock);
  }

  /** Hides the room from the lobby or shows it again. */
  hide(hidden: boolean): Promise<void> {
    return this._moderate(hidden ? ACTS.hide : ACTS.show);
  }

  /** Deletes all objects and the room's fields in one change. The fields of peers stay. */
  clear(): Promise<void> {
    return this._moderate(ACTS.clear);
  }

  /** Hands the right to moderate to another peer, which also becomes the chosen host. */
  handOver(peer: PeerId): Promise<void> {
    return this._moderate(ACTS.handOver, peer);
  }

  /** Ends the room for all peers. */
  end(): Promise<void> {
    return this._moderate(ACTS.end);
  }

  async _moderate(act: number, peer: PeerId = 0, seconds = 0): Promise<void> {
    await this._request((now) => this._client.moderate(now, act, peer, seconds));
  }

  /** Makes a request as soon as fewer than 16 are pending, and waits for its result. */
  async _request(start: (now: number) => number): Promise<bigint> {
    const request = await this._driver.waitFor((now) => {
      return this._client.requestProblem()?.code === "tooMany" ? undefined : start(now);
    });
    const result = await this._driver.waitFor<RequestResult>(() =>
      this._client.takeResult(request),
    );
    return valueOf(result);
  }

  /**
   * Returns the time of the server's clock in µs, which is the same for all peers of the room. It never
   * goes backwards, and makes up for errors of its estimate without jumps.
   */
  serverTime(): number | undefined {
    return this._plane.serverTime(this._driver.now());
  }

  /** Returns how good the connection is, with the figures behind it. */
  connection(): ConnectionFigures {
    return this._plane.connection();
  }

  /** Returns the counters of dropped messages. */
  stats(): RoomStats {
    const { bulkDropped, tooLargeEvents, rpcs } = this._client;
    const realtime = this._plane.counters();
    return { realtime, bulkDropped, tooLargeEvents, malformedEvents: rpcs.malformed };
  }

  /**
   * Returns what resumes this client's session, for example after the page was loaded again: keep it in
   * `sessionStorage`, and hand it to `connect`. It says which events the application has taken, and each
   * session has another one, so export it after every event that must not come again. It is as secret as
   * a password. `undefined` while the client has no ticket.
   */
  ticket(): string | undefined {
    const ticket = this._client.ticket(this._plane.sentSequences());
    return ticket && ticketToText(ticket);
  }

  /**
   * Leaves the room. Events that were sent before still arrive, as far as the server takes them within
   * two seconds. The other peers see the leave at once.
   */
  async leave(): Promise<void> {
    this._driver.run((now) => this._client.leave(now));
    await this._driver.until(() => this._client.session.isClosed());
  }

  /**
   * Leaves the room at once. Events that are not sent yet are lost. For the event `pagehide` of a page
   * that does not come back with its ticket.
   */
  close(): void {
    this._driver.run((now) => this._client.close(now));
  }
}

/** What is wrong with a pose, as texts of errors say it. */
const POSE_PROBLEMS = {
  notFinite: "a number is not finite",
  headOutOfRange: "the head is too far from the origin",
  handOutOfRange: "a hand is too far from the head",
  rotation: "a rotation has no direction",
} as const;

function isWhole(number: number, most: number): boolean {
  return Number.isInteger(number) && number >= 0 && number <= most;
}

/** Returns nothing for an error that passes, so that the caller waits. Throws any other. */
function ifPasses(error: unknown): undefined {
  const passes =
    error instanceof NucleusError && (error.code === "wouldBlock" || error.code === "tooMany");
  if (!passes) {
    throw error;
  }
}

/** Returns the value of a result. Throws its error. */
function valueOf<T extends bigint | Uint8Array>(result: T | NucleusError): T {
  if (result instanceof NucleusError) {
    throw result;
  }
  return result;
}
