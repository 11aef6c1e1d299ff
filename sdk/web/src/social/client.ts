// `SocialClient`: a user's device outside rooms, over all of its sessions. It can be called, calls
// other users, and watches users and rooms.

import type { RoomFilter } from "../room/selection.js";
import { filtersOf } from "../room/selection.js";
import { ClientSession } from "../session/client-session.js";
import type { NucleusError } from "../session/error.js";
import { localError, ProtocolError } from "../session/error.js";
import { SOCIAL_EVENTS } from "../session/held.js";
import type { ReceivedItem } from "../session/incoming.js";
import { JoinToken } from "../session/join-token.js";
import { invalidAnswer } from "../session/joining.js";
import { check, checkOpening } from "../session/opening.js";
import { EventQueue } from "../session/queue.js";
import type { ClientOptions, SessionInput, SessionOutput, SessionStep } from "../session/step.js";
import { codeName } from "../wire/code.js";
import { EMPTY, utf8 } from "../wire/codec.js";
import {
  MAX_APPLICATION_VERSION,
  MAX_CALL_TEXT,
  MAX_CALL_USERS,
  MAX_NAME,
  MAX_WATCH_NAMES,
} from "../wire/limits.js";
import { RoomList, WatchRooms } from "../wire/rooms.js";
import type { Schema } from "../wire/schema.js";
import { decodeBody, encodeMessage } from "../wire/schema.js";
import * as wire from "../wire/social.js";
import { CallState } from "./calls.js";
import type { CallId, SocialEvent, Status, User } from "./event.js";
import { statusToWire } from "./event.js";
import type { CallResult } from "./requests.js";
import { callResult, SocialRequests } from "./requests.js";
import type { ListedRoom } from "./rooms.js";
import { RoomWatch } from "./rooms.js";
import { UserWatch } from "./users.js";

/** Silence of this client, in ms, after which it sends a `Ping`. The server asks for 15 s. */
const PING_AFTER = 10_000;

/** What a client tells a server when it opens a social session. */
export interface SocialEnter {
  /** The join token, a JWT of at most 4 KiB. */
  readonly token: string;
  /** Display name, at most 128 bytes. If empty, the name in the token is used. */
  readonly name: string;
  /** Initial status. */
  readonly status: Status;
  /** Name and version of the application, for the server's operator. */
  readonly agent: string;
}

/** Checks the limits that the server enforces too. Throws `NucleusError` "invalidOptions". */
export function checkEnter({ token, name, agent }: SocialEnter): void {
  checkOpening(token, name, agent);
}

/** An output of a `SocialClient`, besides those of its session: call `takeToken`. */
export type SocialOutput = { readonly kind: "tokenWanted" };

/** A user's device outside rooms, over all of its sessions. */
export class SocialClient {
  /** The session, to ask what it wants. */
  readonly session: ClientSession;
  /** The server's newest `Entered`; `undefined` before the first session. */
  entered: wire.Entered | undefined;
  /** Whether so many events wait for the application that the session is not read. */
  isBehind = false;
  /** The error of the first join, if it has failed for good. */
  failure: NucleusError | undefined;
  readonly #options: SocialEnter;
  readonly #token: JoinToken;
  /** Status of this device as the application set it last. */
  #status: Status;
  /** Status that the server knows, in this session. */
  #toldStatus: Status;
  readonly #requests = new SocialRequests();
  readonly #users = new UserWatch();
  readonly #rooms = new RoomWatch();
  readonly #calls = new CallState();
  readonly #events = new EventQueue<SocialEvent>(SOCIAL_EVENTS);
  #isLeaving = false;
  /** When the next `Ping` is due; `Infinity` without a session. */
  #pingAt = Infinity;

  /** Creates a client and begins to enter at `server`, `host:port`. Check the options before. */
  constructor(now: number, server: string, options: SocialEnter, config: ClientOptions) {
    this.session = new ClientSession("social", server, options.agent, config);
    this.#token = new JoinToken(options.token, config.hasTokenProvider);
    this.#options = { ...options, token: "" };
    this.#status = this.#toldStatus = options.status;
    this.session.start(now);
  }

  /** Handles an input of the session. */
  handle(now: number, input: SessionInput): void {
    this.session.handle(now, input);
    this.#advance(now);
  }

  /** Does the work that is due at `now`. */
  handleTimeout(now: number): void {
    this.session.handleTimeout(now);
    this.#token.handleTimeout(now, this.session);
    if (this.#pingAt <= now && this.session.isRunning()) {
      this.session.ping();
      this.#pingAt = now + PING_AFTER;
    }
    this.#advance(now);
  }

  /** Returns when `handleTimeout` must be called next; `Infinity`: never. */
  deadline(): number {
    const pingAt = this.session.isRunning() ? this.#pingAt : Infinity;
    return Math.min(this.session.deadline(), pingAt);
  }

  /** Returns the next output. The shell asks after each call that changes something. */
  poll(): SocialOutput | SessionOutput | undefined {
    return this.#token.takeDue() ? { kind: "tokenWanted" } : this.session.pollOutput();
  }

  /** Takes the next event for the application. */
  takeEvent(now: number): SocialEvent | undefined {
    const event = this.#events.pop();
    if (event && this.isBehind) {
      this.#advance(now);
    }
    return event;
  }

  /** The token of the next join. */
  get joinToken(): string {
    return this.#token.newest;
  }

  /** Takes the token that "tokenWanted" asks for; `undefined` if there is none now. */
  takeToken(now: number, token: string | undefined): void {
    // Without a return there is no use for it.
    this.#token.takeAnswer(now, this.session, token);
    this.#advance(now);
  }

  /**
   * Leaves: watchers see this at once, and the device leaves its call. The client is closed within
   * 1 s.
   */
  leave(now: number): void {
    this.#isLeaving = true;
    this.session.leave(now);
    this.#advance(now);
  }

  /** Leaves at once, without waiting for an answer. */
  close(now: number): void {
    this.session.close();
    this.#advance(now);
  }

  /** Whether the client has left, or is closed for good. */
  get isClosed(): boolean {
    return this.session.isClosed() || this.#isLeaving;
  }

  /** Returns the watched users that are connected, in the order of their ids. */
  users(): User[] {
    return this.#users.users();
  }

  /** Returns the watched rooms in the order of their names. */
  rooms(): ListedRoom[] {
    return this.#rooms.rooms();
  }

  /** Returns whether this device started or accepted the call. */
  isOwnCall(call: CallId): boolean {
    return this.#calls.isOwn(call);
  }

  /**
   * Calls 1 to 16 users on all of their devices. `text`, at most 256 bytes, is shown to them.
   * Returns the number of the request: `takeResult` returns the call. Throws `NucleusError`, as
   * all requests do.
   */
  start(now: number, users: readonly string[], text: string): number {
    const count = users.length;
    check(count > 0 && count <= MAX_CALL_USERS, "a call is for 1 to 16 users");
    const inWire = utf8(text);
    check(inWire.length <= MAX_CALL_TEXT, "the text of a call has at most 256 bytes");
    return this.#call(now, wire.CALL_START, 0n, users, inWire);
  }

  /** Sends a request about an existing call. `user` is whom to add. Returns its number. */
  act(now: number, call: CallId, act: number, user?: string): number {
    return this.#call(now, act, call, user === undefined ? [] : [user], EMPTY);
  }

  #call(
    now: number,
    act: number,
    call: CallId,
    names: readonly string[],
    text: Uint8Array,
  ): number {
    const users = namesOf(names);
    const request = this.#startRequest(act);
    this.#send(now, encodeMessage(wire.CallRequest, { request, act, call, users, text }));
    return request;
  }

  /**
   * Watches the users that have one of `roles` or are one of `users`, together at most 64 names.
   * If both are empty, watches all users of the tenant and product. Replaces the users that were
   * watched before. Returns the number of the request.
   */
  watchUsers(now: number, roles: readonly string[], users: readonly string[]): number {
    const count = roles.length + users.length;
    check(count <= MAX_WATCH_NAMES, "at most 64 roles and users can be watched");
    const names = { roles: namesOf(roles), users: namesOf(users) };
    const watch = { request: this.#startRequest(0), ...names };
    this.#users.watch(watch);
    this.#send(now, encodeMessage(wire.WatchUsers, watch));
    return watch.request;
  }

  /**
   * Watches the rooms of the lobby that fulfil all filters and have this version of the
   * application. Replaces the rooms that were watched before. Returns the number of the request.
   */
  watchRooms(now: number, version: string, filters: readonly RoomFilter[]): number {
    const inWire = utf8(version);
    const isShort = inWire.length <= MAX_APPLICATION_VERSION;
    check(isShort, "the version must have at most 32 bytes");
    const conditions = { version: inWire, filters: filtersOf(filters) };
    const watch = { request: this.#startRequest(0), ...conditions };
    this.#rooms.watch(watch);
    this.#send(now, encodeMessage(WatchRooms, watch));
    return watch.request;
  }

  /** Sets this device's status, now or when there is a session. */
  setStatus(now: number, status: Status): void {
    this.#status = status;
    this.#advance(now);
  }

  /** Takes the result of a request; `undefined` while there is none. */
  takeResult(request: number): CallResult | undefined {
    return this.#requests.take(request);
  }

  /**
   * Forgets a request for whose result nobody waits. The reply still says what this device has
   * done.
   */
  forget(request: number): void {
    this.#requests.forget(request);
  }

  #startRequest(act: number): number {
    if (this.isClosed) {
      throw localError("closed", "the social session is closed");
    }
    if (!this.session.isRunning()) {
      throw localError("notConnected", "the session is lost and not resumed yet");
    }
    if (this.isBehind) {
      throw localError("behind", "too many events wait for the application");
    }
    if (!this.#requests.hasCapacity() || !this.session.canSend()) {
      throw localError("tooMany", "too many requests wait for the server");
    }
    return this.#requests.start(act);
  }

  /** Sends a message of the application. */
  #send(now: number, message: Uint8Array): void {
    this.session.send(message);
    this.#pingAt = now + PING_AFTER;
    this.#advance(now);
  }

  #advance(now: number): void {
    for (;;) {
      this.#setBehind(this.#events.isFull());
      const step = this.session.nextStep(now);
      if (!step) {
        break;
      }
      this.#apply(now, step);
    }
    if (this.#status !== this.#toldStatus && this.session.canSend()) {
      this.#toldStatus = this.#status;
      const status = statusToWire(this.#status);
      this.session.send(encodeMessage(wire.SetStatus, { status }));
    }
  }

  /**
   * Sets whether the application is too far behind with its events. The session is then not read,
   * so replies do not arrive either.
   */
  #setBehind(isBehind: boolean): void {
    if (isBehind && !this.isBehind) {
      this.#requests.interruptCallers();
    }
    this.isBehind = isBehind;
    this.session.setReading(!isBehind);
  }

  #apply(now: number, step: SessionStep): void {
    switch (step.kind) {
      case "open":
        return this.#open();
      case "answered":
        return this.#orFail(
          () => this.#begin(now, decodeBody(wire.Entered, step.body)),
          this.entered === undefined,
        );
      case "notJoined":
        return this.#token.notJoined(now, this.session, step.error, this.entered !== undefined);
      case "received":
        return this.#orFail(() => this.#receive(step.item));
      case "written":
        return;
      case "lost": {
        this.#endRequests();
        if (this.#events.isOverfull()) {
          return this.session.endUntaken(step.code);
        }
        return this.#push({ kind: "interrupted", code: nameOf(step.code), text: step.text });
      }
      case "failed":
        this.failure = step.error;
        return this.#endRequests();
      case "closed":
        this.#endRequests();
        return this.#push({ kind: "closed", code: nameOf(step.code), text: step.text });
    }
  }

  /** Closes the session if the server has broken the protocol. */
  #orFail(work: () => void, isFirst = false): void {
    try {
      work();
    } catch (error) {
      if (isFirst) {
        this.failure = invalidAnswer(error);
      }
      this.session.fail(error);
    }
  }

  #open(): void {
    this.#toldStatus = this.#status;
    this.session.open(
      encodeMessage(wire.Enter, {
        token: this.#token.bytes(),
        name: utf8(this.#options.name),
        status: statusToWire(this.#status),
      }),
    );
  }

  /**
   * Begins a session: asks again for what is watched, and reports the end of a call that no longer
   * exists.
   */
  #begin(now: number, entered: wire.Entered): void {
    this.session.begin(0, 0, [0n, 0n], entered.entries);
    this.#token.joined();
    this.#pingAt = now + PING_AFTER;
    const ended = this.#calls.begin(entered.call);
    const isReturn = this.entered !== undefined;
    this.entered = entered;
    if (!isReturn) {
      return;
    }
    for (const message of [this.#users.watchMessage(), this.#rooms.watchMessage()]) {
      if (message) {
        this.session.send(message);
      }
    }
    this.#push({ kind: "returned" });
    this.#push(ended);
  }

  #receive(item: ReceivedItem): void {
    if (item.kind !== "control") {
      throw new ProtocolError("the server opens no streams in a social session");
    }
    const { schema, body } = item;
    switch (schema as Schema) {
      case wire.UserList: {
        const list = decodeBody(wire.UserList, body);
        this.#requests.finish(list.request, callResult(list.code, 0n));
        return this.#push(this.#users.take(list));
      }
      case RoomList: {
        const list = decodeBody(RoomList, body);
        this.#requests.finish(list.request, 0n);
        return this.#push(this.#rooms.take(list));
      }
      case wire.CallReply: {
        const reply = decodeBody(wire.CallReply, body);
        const act = this.#requests.finish(reply.request, callResult(reply.code, reply.call));
        // An unknown number belongs to no pending request.
        return act === undefined ? undefined : this.#calls.onReply(act, reply);
      }
      case wire.CallUpdate:
        return this.#calls
          .onUpdate(decodeBody(wire.CallUpdate, body))
          .forEach((event) => this.#push(event));
      default:
        throw new ProtocolError(`a message of schema ${schema.schema} does not belong there`);
    }
  }

  /** Ends all pending requests, because no replies will come. */
  #endRequests(): void {
    this.#pingAt = Infinity;
    this.#requests.end().forEach((act) => this.#calls.onLoss(act));
  }

  #push(event: SocialEvent | undefined): void {
    if (event) {
      this.#events.push(event);
    }
  }
}

function nameOf(code: number | undefined) {
  return code === undefined ? undefined : codeName(code);
}

/** Converts users and roles to wire format. Throws. */
function namesOf(names: readonly string[]): Uint8Array[] {
  return names.map((name) => {
    const bytes = utf8(name);
    const isValid = bytes.length > 0 && bytes.length <= MAX_NAME;
    check(isValid, "a user or role must have 1 to 128 bytes");
    return bytes;
  });
}
