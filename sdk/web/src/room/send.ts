/** What a client in a room sends: events, requests, desired settings and fresh tokens. */

import {
  encodeTypedEvent,
  RPC_CHANNEL,
  RPC_REQUEST_BYTES,
  TYPED_EVENT_CHANNEL,
} from "../wire/application.js";
import { utf8 } from "../wire/codec.js";
import { TARGET_GROUPS, TARGET_OTHERS } from "../wire/frame.js";
import { groupSet } from "../wire/groups.js";
import { MAX_BULK_MESSAGE, MAX_EVENT_PAYLOAD } from "../wire/limits.js";
import { ACTS, BULK, EVENTS, type Lane, Moderate, Renew, Subscribe } from "../wire/messaging.js";
import { encodeMessage } from "../wire/schema.js";
import { StateRequest } from "../wire/state.js";
import { isEventName } from "../wire/text.js";
import type { RpcFault } from "../rpc/error.js";
import type { RpcCall } from "../rpc/rpcs.js";
import type { Batch } from "../state/batch.js";
import { objectId } from "../state/entity.js";
import { pieces } from "../session/backlog.js";
import { localError, NucleusError } from "../session/error.js";
import { explainAct, explainGroups } from "../session/explain.js";
import { LANES } from "../session/outgoing.js";
import {
  checkEvent,
  checkGroup,
  checkSize,
  checkTo,
  copyOf,
  encodeEvent,
  type To,
} from "../session/to.js";
import { TOKEN_ADVICE, tokenProblem } from "../session/token.js";
import { RoomCore } from "./core.js";
import type { Desired } from "./desired.js";
import { renewError } from "./renewal.js";
import type { RequestResult } from "./requests.js";
import type { PeerId } from "./roster.js";

/** The sending half of a client in a room. Its methods throw a {@link NucleusError}. */
export abstract class RoomSender extends RoomCore {
  /** Applies what has come, and sends what can be sent. */
  abstract _advance(now: number): void;

  /**
   * Sends a reliable, ordered event of at most 16 KiB.
   *
   * Events are kept until the server acknowledges them, at most 512 KiB of each lane. If the
   * session is lost, the event is sent after the resume. If the client joins again as a new peer,
   * events that were already written are lost.
   *
   * Throws "wouldBlock" if the lane has no capacity now.
   */
  sendEvent(now: number, to: To, channel: number, payload: Uint8Array): void {
    checkEvent(to, channel, payload.length, this._largestPiece());
    this._queueEvent(to, channel, payload.slice());
    this._sendWaiting(now);
  }

  /**
   * Sends an event of a type, as {@link sendEvent} does. Both have at most 16,383 bytes together.
   */
  sendTypedEvent(now: number, to: To, type: string, payload: Uint8Array): void {
    if (!isEventName(type)) {
      throw localError("invalidName", `the type of an event has ${NAME_RULE}`);
    }
    this._queueEvent(to, TYPED_EVENT_CHANNEL, encodeTypedEvent({ type, data: payload }));
    this._sendWaiting(now);
  }

  /** Sends a message of at most 64 KiB on the bulk lane, in pieces. */
  sendBulk(now: number, to: To, channel: number, payload: Uint8Array): void {
    checkEvent(to, channel, payload.length, MAX_BULK_MESSAGE);
    if (to === "later") {
      const text = "messages of the bulk lane are not kept for peers that join later";
      throw localError("notKept", `${text}: put lasting data into the shared state`);
    }
    const ownTo = copyOf(to);
    this._checkCapacity(BULK);
    const parts = pieces(payload.slice(), this._largestPiece());
    const events = parts.map(({ piece, bytes }) => ({
      to: ownTo,
      channel,
      piece,
      payload: bytes,
    }));
    this._outbox.queue(BULK, events);
    this._sendWaiting(now);
  }

  /** Queues an event. Its payload must not change any more. */
  _queueEvent(to: To, channel: number, payload: Uint8Array): void {
    checkSize(to, payload.length, this._largestPiece());
    const ownTo = copyOf(to);
    this._checkCapacity(EVENTS);
    this._outbox.queue(EVENTS, [{ to: ownTo, channel, piece: 0, payload }]);
  }

  /**
   * Sends a request to a peer, and returns its number. `rpcs.take` returns the answer. If the
   * session is lost, the request waits until it is resumed; the timeout goes on.
   *
   * Throws "tooMany" or "wouldBlock" if there is no capacity now.
   */
  rpc(now: number, call: RpcCall): number {
    if (this.isClosed) {
      throw roomClosed();
    }
    if (call.to === this.me) {
      throw localError("toSelf", "a client does not send a request to itself");
    }
    if (!this.roster.peer(call.to)) {
      throw unknownPeer();
    }
    this.rpcs.check(call);
    const to = { peers: [call.to] };
    const length = RPC_REQUEST_BYTES + utf8(call.method).length + call.payload.length;
    checkSize(to, length, this._largestPiece());
    this._checkCapacity(EVENTS);
    const { number, payload } = this.rpcs.start(now, call);
    this._queueEvent(to, RPC_CHANNEL, payload);
    this._sendWaiting(now);
    return number;
  }

  /** Answers the request of a peer, with at most 16,377 bytes or a failure. */
  answerRpc(now: number, id: number, answer: Uint8Array | RpcFault): void {
    const { to, payload } = this.rpcs.answer(now, id, answer);
    this._queueEvent({ peers: [to] }, RPC_CHANNEL, payload);
    this.rpcs.answered(id);
    this._sendWaiting(now);
  }

  /**
   * Answers a request that is one too many. Without capacity there is no answer, and the caller's
   * timeout ends the request: the backlog stays bounded whatever peers send.
   */
  _answerBusy(to: PeerId, payload: Uint8Array): void {
    if (!this.isClosed && this._outbox.hasCapacity(EVENTS)) {
      this._queueEvent({ peers: [to] }, RPC_CHANNEL, payload);
    }
  }

  /**
   * Returns the target of a realtime message; `undefined`: nobody, because the peer is not in the
   * room, or there is no host. Throws "invalidTarget" or "invalidArgument".
   */
  realtimeTarget(to: To): number | undefined {
    if (to === "others") {
      return TARGET_OTHERS;
    }
    checkTo(to);
    if (typeof to === "object" && "group" in to) {
      return TARGET_GROUPS + to.group;
    }
    const peer =
      to === "host"
        ? this.host
        : typeof to === "object" && to.peers.length === 1
          ? to.peers[0]
          : invalidTarget();
    return peer === undefined ? undefined : this.roster.peer(peer)?.slot;
  }

  /** Returns whether a message of the lane need not wait. It fails at once if the room is closed. */
  isReady(lane: Lane): boolean {
    return this.isClosed || this._outbox.hasCapacity(lane);
  }

  _checkCapacity(lane: Lane): void {
    if (this.isClosed) {
      throw roomClosed();
    }
    if (!this._outbox.hasCapacity(lane)) {
      throw localError("wouldBlock", "too many messages wait to be sent; try again later");
    }
  }

  _largestPiece(): number {
    return Math.min(this._maxEvent || MAX_EVENT_PAYLOAD, MAX_EVENT_PAYLOAD);
  }

  /** Writes what can be written now: the next event of each lane, desired settings, the leave. */
  _sendWaiting(now: number): void {
    for (const lane of LANES) {
      while (this.session.canWrite(lane) && this._writeNext(now, lane)) {
        // One event at a time.
      }
    }
    const muted = this._canSendSetting() ? this._muted.unsent() : undefined;
    if (muted !== undefined) {
      const act = muted ? ACTS.muteSelf : ACTS.unmuteSelf;
      this._muted.sent(this._sendModeration(act, 0, 0));
    }
    const groups = this._canSendSetting() ? this._groups.unsent() : undefined;
    if (groups !== undefined) {
      const request = this._requests.start(explainGroups);
      this.session.send(encodeMessage(Subscribe, { request, groups }));
      this._groups.sent(request);
    }
    if (this._leavesAt < Infinity && (this._leavesAt <= now || !this._outbox.hasWaiting())) {
      // The outbox stays: acknowledgements may still come.
      this.session.leave(now);
    }
  }

  /** Writes the next event of a lane. Returns whether there was one. */
  _writeNext(now: number, lane: Lane): boolean {
    const event = this._outbox.beginWrite(lane);
    if (!event) {
      return false;
    }
    const isRpc = event.channel === RPC_CHANNEL && lane === EVENTS;
    const payload = isRpc ? this.rpcs.refresh(now, event.payload) : event.payload;
    if (!payload) {
      // The caller of this request does not wait any more.
      this._outbox.dropUnwritten(lane);
      return true;
    }
    const { to, channel, piece } = event;
    try {
      this.session.write(lane, encodeEvent(to, channel, piece, payload, this._largestPiece()));
    } catch (error) {
      // The server before took larger events.
      this._outbox.dropUnwritten(lane);
      this.tooLargeEvents += 1;
      if (isRpc && error instanceof NucleusError) {
        this.rpcs.fail(payload, error);
      }
    }
    return true;
  }

  /**
   * Returns whether a desired setting can be sent now. Results that their callers have not taken do
   * not matter: at most one request of each setting is pending.
   */
  _canSendSetting(): boolean {
    return !this.isClosed && !this.isBehind && this.session.canSend();
  }

  /** Requests the changes of a batch, and returns the number of the request. */
  change(now: number, batch: Batch): number {
    this.checkRequest();
    if (!this.session.allows(StateRequest)) {
      throw localError("notOffered", "the server does not offer the shared state");
    }
    const request = this._requests.start(batch.explain(this.me));
    try {
      this.session.send(batch.encode(request));
    } catch (error) {
      this._requests.forget(request);
      throw error;
    }
    this._advance(now);
    return request;
  }

  /** Requests an act of moderation, and returns the number of the request. */
  moderate(now: number, act: number, peer: PeerId, seconds: number): number {
    this.checkRequest();
    const request = this._sendModeration(act, peer, seconds);
    this._advance(now);
    return request;
  }

  _sendModeration(act: number, peer: PeerId, seconds: number): number {
    const request = this._requests.start(explainAct(act));
    this.session.send(encodeMessage(Moderate, { request, act, peer, seconds }));
    return request;
  }

  /** Returns whether a request must wait for others. Without a session it fails at once. */
  hasTooManyRequests(): boolean {
    const isFull = !this._requests.hasCapacity() || !this.session.canSend();
    return isFull && !this.isClosed && this.session.isRunning() && !this.isBehind;
  }

  /** Returns why no request can be made now. */
  requestProblem(): NucleusError | undefined {
    if (this.isClosed) {
      return roomClosed();
    }
    if (!this.session.isRunning()) {
      const text = "the session is lost and not resumed yet; nothing was sent";
      return localError("notConnected", text);
    }
    if (this.isBehind) {
      return localError("behind", "too many events wait for the application; nothing was sent");
    }
    if (this.hasTooManyRequests()) {
      return localError("tooMany", "too many requests wait for the server; nothing was sent");
    }
    return undefined;
  }

  /** Throws if no request can be made now. */
  checkRequest(): void {
    const problem = this.requestProblem();
    if (problem) {
      throw problem;
    }
  }

  /** Takes the result of a request; `undefined` while there is none. */
  takeResult(request: number): RequestResult | undefined {
    return this._requests.take(request);
  }

  /** Mutes or unmutes this client at the server, now or when there is a session. */
  setMuted(now: number, muted: boolean): number {
    const setting = this._muted.set(muted, this._requests);
    this._advance(now);
    return setting;
  }

  /** Returns the outcome of {@link setMuted}; `undefined`: the server has not answered. */
  mutedOutcome(setting: number): true | NucleusError | undefined {
    return this._outcome(this._muted, setting);
  }

  /**
   * Subscribes to these groups and unsubscribes from all others, now or when there is a session.
   */
  subscribe(now: number, groups: readonly number[]): number {
    groups.forEach(checkGroup);
    const setting = this._groups.set(groupSet(groups), this._requests);
    this._advance(now);
    return setting;
  }

  /** Returns the outcome of {@link subscribe}; `undefined`: the server has not answered. */
  groupsOutcome(setting: number): true | NucleusError | undefined {
    return this._outcome(this._groups, setting);
  }

  _outcome<T>(desired: Desired<T>, setting: number): true | NucleusError | undefined {
    const problem = this.requestProblem();
    if (problem?.code === "closed") {
      return problem;
    }
    // No request can be made until something else happens.
    const isBlocked = problem?.code === "notConnected" || problem?.code === "behind";
    return desired.outcome(setting, isBlocked);
  }

  /**
   * Hands in a fresh token of the same user, and returns the number of the renewal. The client uses
   * the token when it joins again.
   */
  renew(token: string): number {
    if (this.isClosed) {
      throw renewError("closed");
    }
    const wrong = tokenProblem(token);
    if (wrong) {
      throw localError("invalidArgument", `${wrong}. ${TOKEN_ADVICE}`);
    }
    const problem = !this.session.isRunning()
      ? "interrupted"
      : this.isBehind
        ? "behind"
        : !this.session.allows(Renew)
          ? "notOffered"
          : undefined;
    if (problem) {
      this._renewal.keep(token);
      throw renewError(problem);
    }
    if (!this._renewal.hasCapacity() || !this.session.canSend()) {
      throw localError("tooMany", "too many tokens wait for the server's reply");
    }
    this.session.send(encodeMessage(Renew, { token: utf8(token) }));
    return this._renewal.start(token);
  }

  /** Takes the outcome of {@link renew}; `undefined` while there is none. */
  takeRenewal(number: number): true | NucleusError | undefined {
    return this._renewal.take(number);
  }

  /** Returns a new id for an object that this client will create. */
  newObjectId(): bigint {
    const idOf = (number: number) => objectId(this.me, number);
    let number = this._nextObject;
    while (this.replica.object(idOf(number))) {
      number = (number + 1) >>> 0;
    }
    this._nextObject = (number + 1) >>> 0;
    return idOf(number);
  }
}

/** The rule of names, as texts of errors say it. */
const NAME_RULE = "1 to 64 bytes of text, without control characters and invisible characters";

/** The room is closed. */
export function roomClosed(): NucleusError {
  return localError("closed", "the room is closed");
}

function unknownPeer(): NucleusError {
  return localError("unknownPeer", "the recipient is not in the room");
}

function invalidTarget(): never {
  throw localError(
    "invalidTarget",
    "a realtime message goes to the others, one peer, the host or a group",
  );
}
