/** `Room`: a joined room as an application uses it. */

import type { DriverOptions } from "./driver.js";
import type { ShownPose } from "./playback/interpolation.js";
import type { VoiceStep } from "./playback/voice.js";
import type { PeerPose, RealtimeCounters } from "./realtime/message.js";
import type { ConnectionFigures } from "./realtime/quality.js";
import type { SentSequences } from "./realtime/sent.js";
import type { RoomClient } from "./room/client.js";
import { realtimeEvent, type RoomEvent } from "./room/event.js";
import type { Peer, PeerId } from "./room/roster.js";
import { RoomMessages } from "./room-messages.js";
import { localError } from "./session/error.js";
import { ticketToText } from "./session/ticket.js";
import { trimmed } from "./session/token.js";
import type { Batch } from "./state/batch.js";
import { digestOf } from "./state/digest.js";
import type { EntityId, ObjectId } from "./state/entity.js";
import type { Field, StateObject } from "./state/replica.js";
import { POSE } from "./wire/frame.js";
import { MAX_BAN_S } from "./wire/limits.js";
import { ACTS } from "./wire/messaging.js";

/**
 * Most events that one {@link Room.poll} returns: those of a second in the largest rooms. So one
 * frame ends although others send faster than the application runs.
 */
const EVENTS_PER_POLL = 4_096;
/** Counters of a room since the join. */
export interface RoomStats {
  /** Messages dropped by the rules of the realtime plane. */
  realtime: RealtimeCounters;
  /** Messages of the bulk lane that could not be assembled. */
  bulkDropped: number;
  /**
   * Events that were dropped because the client came back to a server that takes only smaller
   * ones.
   */
  tooLargeEvents: number;
  /** Requests of peers, answers and typed events that were ignored because they were malformed. */
  malformedEvents: number;
}

/**
 * A room that this client has joined, returned by `connect`.
 *
 * A program with frames calls {@link poll} and {@link shownPoses} once a frame; others receive with
 * {@link next} or `for await`. The client resumes a lost session by itself, see the event
 * "interrupted". Methods throw, or reject with, a `NucleusError`.
 */
export class Room extends RoomMessages {
  /** Waits until the client has joined. @internal */
  static async _join(
    client: RoomClient,
    options: DriverOptions,
    sent: SentSequences | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Room> {
    const room = new Room(client, options, sent);
    const joined = room._driver.waitFor(() => {
      if (client.failure) {
        throw client.failure;
      }
      return client.hasJoined || undefined;
    }, signal);
    return joined.then(
      () => room,
      (error) => {
        room.close();
        throw error;
      },
    );
  }

  /** This client's peer id. It changes with the event "rejoined". */
  get me(): PeerId {
    return this._client.me;
  }

  /** The room's name. The server may have chosen it. */
  get name(): string {
    return this._client.roomName;
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
   * Returns the events since the last call, without poses: {@link shownPoses} has those. Never
   * waits. For programs that do their work once a frame.
   */
  poll(): RoomEvent[] {
    const events: RoomEvent[] = [];
    for (let event; events.length < EVENTS_PER_POLL && (event = this._take(false));) {
      events.push(event);
    }
    return events;
  }

  /**
   * Waits for the next event. Resolves with `undefined` after the event "closed".
   *
   * Roster changes and reliable events are returned before realtime events, so a peer's join
   * comes before its first pose. Reliable events are never dropped. Of realtime messages that the
   * application has not taken, only those that are still of use are returned: the newest pose of
   * each peer, and voice of the last 400 ms.
   *
   * Each call takes an event, also one whose result nobody uses, as the loser of a `Promise.race`.
   * To give up a call, abort its `signal`: it rejects with the reason, and takes nothing.
   */
  async next({ signal }: { signal?: AbortSignal } = {}): Promise<RoomEvent | undefined> {
    const found = await this._driver.waitFor(() => {
      const event = this._take(true);
      return event || this._isOver ? { event } : undefined;
    }, signal);
    return found.event;
  }

  /** Iterates over the events, up to "closed". */
  async *[Symbol.asyncIterator](): AsyncGenerator<RoomEvent, void, undefined> {
    for (let event; (event = await this.next());) {
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
    for (let message; (message = this._plane.pop(now));) {
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
   * Returns the poses of everybody to show in this frame: interpolated between the poses that
   * have arrived, evenly in time, and a little later than they arrive. Poses are kept from the
   * first call on, so call it in each frame. The list and its objects are written again by the
   * next call.
   */
  shownPoses(now = this._driver.now()): readonly ShownPose[] {
    return this._plane.shownPoses(now);
  }

  /** Returns the newest pose of each peer and key, whether smooth or not. */
  newestPoses(): PeerPose[] {
    return this._plane.poses();
  }

  /**
   * Returns what to play for the next 20 ms of a speaker. Call it for each speaker every 20 ms.
   * From the first call on, voice is kept here, and the event "voice" no longer comes.
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
   * Mutes or unmutes this client. It stops sending voice at once, and the server tells the
   * others. The setting stays over a lost session. Resolves when the server has answered; at
   * once, if the session is lost.
   */
  setMuted(muted: boolean): Promise<void> {
    this._isSelfMuted = muted;
    const setting = this._driver.run((now) => this._client.setMuted(now, muted));
    return this._settle(() => this._client.mutedOutcome(setting));
  }

  /**
   * Subscribes to these groups, 0 to 239, and unsubscribes from all others. The setting stays
   * over a lost session. Resolves when the server has answered; at once, if the session is lost.
   */
  async subscribe(groups: readonly number[]): Promise<void> {
    const setting = this._driver.run((now) => this._client.subscribe(now, groups));
    await this._settle(() => this._client.groupsOutcome(setting));
  }

  /**
   * Hands in a fresh token of the same user, for example after the event "tokenWanted". The
   * client uses it when it joins again. The rights in this room stay as they are. Rejects with
   * "invalidArgument" if the text cannot be a token.
   */
  async renew(token: string): Promise<void> {
    const number = this._driver.run(() => this._client.renew(trimmed(token)));
    await this._settle(() => this._client.takeRenewal(number));
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
   * The host: the chosen host while it is present, or else the present peer with the smallest id.
   * All clients that have received the same roster and state agree on it.
   */
  get host(): PeerId | undefined {
    return this._client.host;
  }

  /** The version of the state. */
  get stateVersion(): bigint {
    return this._client.replica.version;
  }

  /**
   * Returns the SHA-256 digest of the whole state as it is at the call. Two peers with the same
   * {@link stateVersion} have the same digest, whatever their SDK. Needs a secure context.
   */
  stateDigest(): Promise<Uint8Array> {
    return digestOf(this._client.replica);
  }

  /** Returns a new id for an object that this client will create. */
  newObjectId(): ObjectId {
    return this._client.newObjectId();
  }

  /**
   * Requests the changes of `batch`, which the server applies all together or not at all.
   * Resolves with the version of the state that contains them; this client's copy then contains
   * them too.
   *
   * Unlike an event, a request is not repeated after a lost session: it rejects with
   * "interrupted", and it is unknown whether the change was applied. At most 16 requests are
   * pending at the same time, and further ones wait.
   */
  change(batch: Batch): Promise<bigint> {
    return this._request((now) => this._client.change(now, batch));
  }

  /**
   * Removes a peer from the room. With `banS`, at most a day, the user cannot join again until
   * the ban ends. Moderation needs a role or grant that allows it; otherwise the server refuses
   * with "forbidden".
   */
  async kick(peer: PeerId, { banS = 0 }: { banS?: number } = {}): Promise<void> {
    if (!(banS >= 0 && banS <= MAX_BAN_S)) {
      throw localError("invalidArgument", `a ban lasts 0 to ${MAX_BAN_S} s`);
    }
    return this._moderate(ACTS.kick, peer, Math.ceil(banS));
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

  /**
   * Returns the time of the server's clock in µs, which is the same for all peers of the room. It
   * never goes backwards, and makes up for errors of its estimate without jumps.
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
    const counters = this._plane.counters();
    const realtime = { ...counters, unsent: counters.unsent + this._unsent };
    return { realtime, bulkDropped, tooLargeEvents, malformedEvents: rpcs.malformed };
  }

  /**
   * Returns what resumes this client's session, for example after the page was loaded again: keep
   * it in `sessionStorage`, and hand it to `connect`. It says which events the application has
   * taken, and each session has another one, so export it after every event that must not come
   * again. It is as secret as a password. `undefined` while the client has no ticket.
   */
  ticket(): string | undefined {
    const ticket = this._client.ticket(this._plane.sentSequences());
    return ticket && ticketToText(ticket);
  }

  /**
   * Leaves the room. Events that were sent before still arrive, as far as the server takes them
   * within two seconds. The other peers see the leave at once.
   */
  async leave(): Promise<void> {
    this._driver.run((now) => this._client.leave(now));
    await this._driver.until(() => this._client.session.isClosed());
  }

  /**
   * Leaves the room at once. Events that are not sent yet are lost. For the event `pagehide` of a
   * page that does not come back with its ticket.
   */
  close(): void {
    this._driver.run((now) => this._client.close(now));
  }
}
