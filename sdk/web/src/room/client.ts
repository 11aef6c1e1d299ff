/**
 * `RoomClient`: a client in a room, over all of its sessions. It knows the roster and the shared
 * state, keeps events until the server has them, and comes back after a loss.
 */

import { parseTypedEvent, RPC_CHANNEL, TYPED_EVENT_CHANNEL } from "../wire/application.js";
import { codeName } from "../wire/code.js";
import { lossyText, sameBytes } from "../wire/codec.js";
import { STATE } from "../wire/features.js";
import {
  type EventDown,
  Joined,
  NEW_PEER,
  RESERVED_CHANNELS,
  RESUMED,
  RESUMED_WITH_LOSS,
  RosterUpdate,
} from "../wire/messages.js";
import {
  Audit,
  EventAck,
  EVENTS,
  type Lane,
  Renewed,
  Throttled,
  TokenWanted,
} from "../wire/messaging.js";
import { JOIN_MODES } from "../wire/rooms.js";
import { decodeBody, type Schema } from "../wire/schema.js";
import { settingsFromList } from "../wire/settings.js";
import { StateReply } from "../wire/state.js";
import type { GrantedLink } from "../realtime/plane.js";
import { largestBody } from "../session/capabilities.js";
import { localError } from "../session/error.js";
import { type ReceivedItem, unexpected } from "../session/incoming.js";
import { invalidAnswer } from "../session/joining.js";
import type { ClientOptions, SessionInput, SessionOutput, SessionStep } from "../session/step.js";
import type { RoomOutput } from "./core.js";
import { type RoomEvent, throttleOf } from "./event.js";
import { encodeJoin, type RoomJoin } from "./join.js";
import { auditOf } from "./moderation.js";
import { RoomReporter } from "./report.js";
import { type PeerId, Roster } from "./roster.js";
import { forRejoin } from "./selection.js";
import { TakenEvents } from "./taken.js";

/** How long the client waits before it asks a provider again that had no good token, in ms. */
const TOKEN_PAUSE_MS = 60_000;
/** How long a leave waits until the last events are written, in ms. */
const FLUSH_MS = 1_000;

/** A client in a room, over all of its sessions. */
export class RoomClient extends RoomReporter {
  /** Creates a client and begins to join at `server`, `host:port`. Check the options before. */
  constructor(now: number, server: string, join: RoomJoin, options: ClientOptions) {
    super(server, join, options);
    this.session.start(now);
  }

  /** Handles an input of the session. */
  handle(now: number, input: SessionInput): void {
    this.session.handle(now, input);
    this._advance(now);
  }

  /** Does the work that is due at `now`. */
  handleTimeout(now: number): void {
    this.session.handleTimeout(now);
    if (this._tokenWantedAt <= now && !this.isBehind) {
      this._askForToken(undefined);
    }
    this._token.handleTimeout(now, this.session);
    this.rpcs.handleTimeout(now);
    this._advance(now);
  }

  /** Returns when {@link handleTimeout} must be called next; `Infinity`: never. */
  deadline(): number {
    const token = this.isBehind ? Infinity : this._tokenWantedAt;
    // A lost session does not delay the leave.
    const hasLeft = this.session.isLeaving() || this.session.isClosed();
    const leave = hasLeft ? Infinity : this._leavesAt;
    return Math.min(this.session.deadline(), token, leave, this.rpcs.deadline());
  }

  /** Returns the next output. The shell asks after each call that changes something. */
  poll(): RoomOutput | SessionOutput | undefined {
    if (this._token.takeDue()) {
      return { kind: "tokenWanted" };
    }
    return this._outputs.shift() ?? this.session.pollOutput();
  }

  /** Takes the next event for the application. */
  takeEvent(now: number): RoomEvent | undefined {
    const event = this._popEvent(now);
    if (this.isBehind) {
      this._advance(now);
    }
    return event;
  }

  _advance(now: number): void {
    this._applySteps(now);
    this._sendWaiting(now);
    // A leave without a session has closed the client.
    this._applySteps(now);
  }

  _applySteps(now: number): void {
    for (;;) {
      this._setBehind(this._events.isFull());
      const step = this.session.nextStep(now);
      if (!step) {
        return;
      }
      this._apply(now, step);
    }
  }

  /**
   * Sets whether the application is too far behind with its events. The session is then not read,
   * so replies do not arrive either.
   */
  _setBehind(isBehind: boolean): void {
    if (isBehind && !this.isBehind) {
      this._endRequests();
      this._renewal.endAll("behind");
    }
    this.isBehind = isBehind;
    this.session.setReading(!isBehind);
  }

  /**
   * Leaves the room. Events that were sent before still arrive, and the other peers see the leave
   * at once. The client is closed within 2 s.
   */
  leave(now: number): void {
    if (this.session.isRunning()) {
      this._leavesAt = Math.min(this._leavesAt, now + FLUSH_MS);
    } else if (this._leavesAt === Infinity) {
      this.session.close();
    }
    this._advance(now);
  }

  /**
   * Leaves the room at once, without waiting for an answer. Events that are not written are lost.
   */
  close(now: number): void {
    this._outbox.clear();
    this.session.close();
    this._advance(now);
  }

  /**
   * Takes the token that "tokenWanted" asks for; `undefined` if there is none now. A client that
   * comes back asks again after a pause, as long as its patience lasts.
   */
  takeToken(now: number, token: string | undefined): void {
    const isRenewal = !this._token.isAwaited();
    const renewal = this._token.takeAnswer(now, this.session, token);
    if (renewal !== undefined) {
      try {
        // The server's answer says whether the token is good; nobody waits for it.
        this._renewal.forget(this.renew(renewal));
      } catch {
        // The token is kept for the next join.
      }
    } else if (isRenewal) {
      this._wantTokenLater(now);
    }
    this._advance(now);
  }

  _apply(now: number, step: SessionStep): void {
    switch (step.kind) {
      case "open":
        return this._open(step.maxDatagramSize, step.mayHaveCreated);
      case "answered":
        return this._orFail(() => this._begin(now, step.features, step.body), !this.hasJoined);
      case "notJoined":
        return this._token.notJoined(now, this.session, step.error, this.hasJoined);
      case "received":
        return this._orFail(() => this._receive(now, step.item));
      case "written":
        return this._outbox.markWritten(step.lane);
      case "lost":
        return this._lost(step.code, step.text);
      case "failed":
        this.failure = step.error;
        return this._end();
      case "closed": {
        this._end();
        const { text } = step;
        this.failure ??= localError("connectionLost", text);
        return this._push({ kind: "closed", code: codeName(step.code ?? -1), text }, true);
      }
    }
  }

  /** Ends the session if the server has broken the protocol; so its first join has failed. */
  _orFail(receive: () => void, isFirstJoin = false): void {
    try {
      receive();
    } catch (error) {
      if (isFirstJoin) {
        this.failure = invalidAnswer(error);
      }
      this.session.fail(error);
    }
  }

  _open(maxDatagramSize: number, mayHaveCreated: boolean): void {
    const newest = this._renewal.takeNewest();
    if (newest !== undefined) {
      this._token.replace(newest);
    }
    this._largestBody = largestBody(maxDatagramSize);
    this._claimed = [...this._ticket.lastSequences];
    const isCreation = this._join.selection.mode === JOIN_MODES.create;
    const mode = mayHaveCreated && isCreation ? JOIN_MODES.joinOrCreate : undefined;
    this.session.open(
      encodeJoin(this._join, this._token.bytes(), this._ticket, this._largestBody, mode),
    );
  }

  /** Begins a session with the server's `Joined`. */
  _begin(now: number, features: number, body: Uint8Array): void {
    const joined = decodeBody(Joined, body);
    const newer = new Roster(joined.rosterVersion, joined.roster);
    const settings = settingsFromList(joined.settings);
    const isFirst = this._instance === undefined;
    const isSameRoom = isFirst || sameBytes(this._instance ?? body, joined.roomInstance);
    const isNewPeer = joined.resumed === NEW_PEER;
    this._outbox.attach([joined.eventsTaken, joined.bulkTaken], isNewPeer, isSameRoom);
    // A new peer receives no earlier events.
    const lastSequences: [bigint, bigint] = isNewPeer ? [0n, 0n] : this._ticket.lastSequences;
    this.session.begin(features, joined.rosterVersion, lastSequences, joined.entries);
    this._maxEvent = settings.maxEvent;
    this._hasState = (features & STATE) !== 0;
    this._wantToken(now, settings.ticketTtlS);
    this._token.joined();
    const room = lossyText(joined.room);
    this._join = { ...this._join, room, selection: forRejoin(this._join.selection) };
    // A message that was begun before this page is told as missed, once.
    const wasPartial = this._ticket.isPartial && !isNewPeer;
    const { ticket } = joined;
    this._ticket = { room, sent: [], ticket, lastSequences, isPartial: false };
    this._renewal.attach();
    if (isNewPeer) {
      this._claimed = [0n, 0n];
      this.rpcs.endAll("interrupted");
      this._muted.becomeNewPeer();
      this._groups.becomeNewPeer();
    }
    if (joined.resumed !== RESUMED) {
      this._bulk.clear();
    }
    const own = { before: this.me, now: joined.peer };
    this.me = joined.peer;
    this._instance = joined.roomInstance;
    const epoch = this._clockEpoch;
    this._clockEpoch = joined.clockEpoch;
    this._outputs.push({ kind: "link", link: this._linkOf(now, joined, settings), isSameRoom });
    if (isFirst) {
      return this._beginFirst(newer, joined.resumed, wasPartial);
    }
    const changes = this.roster.replace(isSameRoom, newer);
    this._push(
      isNewPeer
        ? { kind: "rejoined", me: this.me }
        : { kind: "resumed", missedEvents: joined.resumed === RESUMED_WITH_LOSS },
    );
    if (epoch !== joined.clockEpoch) {
      this._push({ kind: "clockChanged" });
    }
    // In the same instance, the next snapshot brings the replica up to date; without a snapshot,
    // the state is still empty. In another instance the old state is invalid, and requests must
    // not be based on it.
    const deleted = isSameRoom ? [] : this.replica.clear();
    this._reportRoster(changes, own, true);
    this._reportState(deleted, true);
  }

  _linkOf(now: number, joined: Joined, settings: ReturnType<typeof settingsFromList>): GrantedLink {
    const link = {
      linkId: joined.linkId,
      maxBody: Math.min(settings.maxBody, this._largestBody),
      reportIntervalMs: settings.reportIntervalMs,
    };
    return {
      link: this._largestBody > 0 ? link : undefined,
      clock: { at: now, serverTime: Number(joined.serverTime), epoch: joined.clockEpoch },
    };
  }

  /** Begins the first session. The peers that are in the room already are not reported. */
  _beginFirst(newer: Roster, resumed: number, wasPartial: boolean): void {
    this.roster.replace(true, newer);
    for (const { slot, id } of this.roster.all()) {
      this._outputs.push({ kind: "peerJoined", slot, peer: id });
    }
    this._host = this.host;
    if (resumed === NEW_PEER) {
      // The events of an earlier page were another peer's.
      this._taken = new TakenEvents();
    } else {
      const missedEvents = resumed === RESUMED_WITH_LOSS || wasPartial;
      this._push({ kind: "resumed", missedEvents });
    }
  }

  _receive(now: number, item: ReceivedItem): void {
    switch (item.kind) {
      case "control":
        return this._takeControl(now, item.schema, item.body);
      case "event":
        return this._takeEventDown(now, item.lane, item.event);
      case "snapshot":
        return this._reportState(this.replica.applySnapshot(item.snapshot), true);
      case "update":
        return this._reportState(this.replica.applyUpdate(item.update), false);
    }
  }

  _takeControl(now: number, schema: Schema, body: Uint8Array): void {
    switch (schema) {
      case RosterUpdate: {
        const changes = this.roster.apply(decodeBody(RosterUpdate, body));
        this.session.setRosterVersion(this.roster.version);
        this._reportRoster(changes, undefined, false);
        return this._reportHost();
      }
      case StateReply: {
        // Without the state there is no version to wait for.
        const version = this._hasState ? this.replica.version : undefined;
        this._requests.onReply(decodeBody(StateReply, body), version);
        return this._settleDesired();
      }
      case Audit:
        return this._push({ kind: "moderated", audit: auditOf(decodeBody(Audit, body)) });
      case EventAck: {
        const { eventsTaken, bulkTaken } = decodeBody(EventAck, body);
        this._outbox.acknowledge([eventsTaken, bulkTaken]);
        return;
      }
      case Throttled: {
        const what = throttleOf(decodeBody(Throttled, body).what);
        return what && this._push({ kind: "throttled", what });
      }
      case Renewed: {
        const reply = decodeBody(Renewed, body);
        if (!this._renewal.onReply(reply)) {
          return this._wantTokenLater(now);
        }
        this._wantToken(now, reply.ticketTtlS);
        this._ticket.ticket = reply.ticket;
        return;
      }
      case TokenWanted:
        return this._askForToken(1_000 * decodeBody(TokenWanted, body).withinS);
      default:
        throw unexpected(schema);
    }
  }

  _takeEventDown(now: number, lane: Lane, down: EventDown): void {
    const event = this._eventOf(now, lane, down);
    const { sequence } = down;
    if (event) {
      this._push(event, false, { lane, sequence });
    } else if (lane === EVENTS) {
      this._taken.pass(sequence);
    }
  }

  /** Returns the event for the application, if there is one. */
  _eventOf(now: number, lane: Lane, down: EventDown): RoomEvent | undefined {
    const { channel, payload, sequence, peer: from } = down;
    if (channel >= RESERVED_CHANNELS) {
      if (lane === EVENTS && channel === RPC_CHANNEL) {
        return this._takeRpc(now, from, payload);
      }
      if (lane === EVENTS && channel === TYPED_EVENT_CHANNEL) {
        return this._typedEvent(down);
      }
      // A channel of the protocol that this version does not know.
      return undefined;
    }
    if (lane === EVENTS) {
      return { kind: "event", sequence, from, channel, payload };
    }
    const message = this._bulk.take(down);
    return message && { kind: "bulk", ...message };
  }

  /** Handles a request or an answer of a peer. */
  _takeRpc(now: number, from: PeerId, payload: Uint8Array): RoomEvent | undefined {
    const peer = this.roster.peer(from);
    // If the sender has left, its requests have ended, and those to it.
    const arrival = peer && this.rpcs.receive(now, from, peer.user, payload);
    if (arrival?.kind === "answer") {
      this._answerBusy(from, arrival.payload);
    }
    if (arrival?.kind !== "request") {
      return undefined;
    }
    const { id, method } = arrival;
    // The timeout is set when the application takes the event.
    return { kind: "rpcRequest", id, from, method, payload: arrival.payload, timeoutMs: 0 };
  }

  _typedEvent({ sequence, peer: from, payload }: EventDown): RoomEvent | undefined {
    const event = parseTypedEvent(payload);
    if (!event) {
      this.rpcs.countMalformed();
      return undefined;
    }
    return { kind: "typedEvent", sequence, from, type: event.type, payload: event.data };
  }

  /**
   * Asks for a token after three quarters of the time that the ticket still admits to another
   * instance of the room, in s. 0: the server names no time.
   */
  _wantToken(now: number, leftS: number): void {
    this._tokenWantedAt = leftS > 0 ? now + leftS * 750 : Infinity;
  }

  /** Asks a provider again after a pause, because it had no good token. */
  _wantTokenLater(now: number): void {
    if (this._token.hasProvider && !this.isClosed) {
      this._tokenWantedAt = now + TOKEN_PAUSE_MS;
    }
  }

  _lost(code: number | undefined, text: string): void {
    this._outputs.push({ kind: "linkLost" });
    this._ticket.lastSequences = this.session.lastSequences();
    this._endRequests();
    this._renewal.endAll("interrupted");
    if (this._events.isOverfull()) {
      return this.session.endUntaken(code);
    }
    this._push({ kind: "interrupted", code: codeName(code ?? -1), text });
  }

  /** Ends everything that waits: the client is closed for good. */
  _end(): void {
    this._outputs.push({ kind: "linkLost" });
    this._endRequests();
    this._renewal.endAll("closed");
    this.rpcs.endAll("closed");
    this._outbox.clear();
    this._tokenWantedAt = Infinity;
  }
}
