/** `Social`: an open social session as an application uses it, and `enter`. */

import { openingOf, type ServerOptions } from "./connect.js";
import { type DriverOptions, SessionDriver } from "./driver.js";
import type { RoomFilter } from "./room/selection.js";
import { NucleusError } from "./session/error.js";
import {
  type CallId,
  checkEnter,
  type ListedRoom,
  SocialClient,
  type SocialEvent,
  type SocialOutput,
  type Status,
  type User,
} from "./social/index.js";
import { lossyText } from "./wire/codec.js";
import { CALL_ACCEPT, CALL_ADD, CALL_CANCEL, CALL_HANG_UP, CALL_REJECT } from "./wire/social.js";

/** Options of {@link enter}: the server, the token, and how other users see this device. */
export interface EnterOptions extends ServerOptions {
  /** Initial status. Default: online. */
  status?: Status;
}

/**
 * Connects to a server and opens a social session for the tenant, product and user of the token:
 * the user can be called there, and can watch other users and rooms. The room in the token has no
 * effect.
 *
 * Rejects with a `NucleusError`, as `connect` does.
 */
export async function enter(options: EnterOptions): Promise<Social> {
  const { server, token, name, agent, client, driver } = await openingOf(options);
  const wanted = { token, name, agent, status: options.status ?? "online" };
  checkEnter(wanted);
  const social = new SocialClient(driver.clock.now(), server, wanted, client);
  return Social._enter(social, driver, options.signal);
}

/**
 * A social session, returned by `enter`. It comes back by itself after a loss. Methods reject
 * with a `NucleusError`.
 */
export class Social {
  _driver: SessionDriver<SocialOutput, SocialClient>;
  _client: SocialClient;
  _isOver = false;

  /** @internal */
  constructor(client: SocialClient, options: DriverOptions) {
    this._client = client;
    this._driver = new SessionDriver<SocialOutput, SocialClient>(client, options);
  }

  /** Waits until the client has entered. @internal */
  static async _enter(
    client: SocialClient,
    options: DriverOptions,
    signal: AbortSignal | undefined,
  ): Promise<Social> {
    const social = new Social(client, options);
    const entered = social._driver.waitFor(() => {
      if (client.failure) {
        throw client.failure;
      }
      if (client.isClosed) {
        throw new NucleusError("connectionLost", "the session was closed");
      }
      return client.entered && true;
    }, signal);
    return entered.then(
      () => social,
      (error) => {
        social.close();
        throw error;
      },
    );
  }

  /** This user's id. */
  get user(): string {
    return lossyText(this._client.entered?.user ?? new Uint8Array(0));
  }

  /** Whether the social session is closed, or this device has left. */
  get isClosed(): boolean {
    return this._client.isClosed;
  }

  /** Returns the events since the last call. Never waits. */
  poll(): SocialEvent[] {
    const events: SocialEvent[] = [];
    for (let event; (event = this._take());) {
      events.push(event);
    }
    return events;
  }

  /**
   * Waits for the next event. Resolves with `undefined` after the event "closed". Each call takes
   * an event, until its `signal` aborts: then it rejects with the reason, and takes nothing.
   */
  async next({ signal }: { signal?: AbortSignal } = {}): Promise<SocialEvent | undefined> {
    const found = await this._driver.waitFor(() => {
      const event = this._take();
      return event || this._isOver ? { event } : undefined;
    }, signal);
    return found.event;
  }

  /** Iterates over the events, up to "closed". */
  async *[Symbol.asyncIterator](): AsyncGenerator<SocialEvent, void, undefined> {
    for (let event; (event = await this.next());) {
      yield event;
    }
  }

  _take(): SocialEvent | undefined {
    const event = this._isOver ? undefined : this._driver.run((now) => this._client.takeEvent(now));
    this._isOver ||= event?.kind === "closed";
    return event;
  }

  /** Sets this device's status. It stays over a lost session. */
  setStatus(status: Status): void {
    this._driver.run((now) => this._client.setStatus(now, status));
  }

  /**
   * Watches the users that have one of `roles` or are one of `users`, together at most 64 names.
   * If both are empty, watches all users of the tenant and product. Replaces the users that were
   * watched before. The event "users" reports changes.
   */
  async watchUsers(roles: readonly string[], users: readonly string[]): Promise<void> {
    await this._request((now) => this._client.watchUsers(now, roles, users));
  }

  /** Returns the watched users that are connected, in the order of their ids. */
  users(): User[] {
    return this._client.users();
  }

  /**
   * Watches the rooms of the lobby that fulfil all filters and have this version of the
   * application. Replaces the rooms that were watched before. The event "rooms" reports changes.
   */
  async watchRooms(version = "", filters: readonly RoomFilter[] = []): Promise<void> {
    await this._request((now) => this._client.watchRooms(now, version, filters));
  }

  /** Returns the watched rooms in the order of their names. */
  rooms(): ListedRoom[] {
    return this._client.rooms();
  }

  /** Calls 1 to 16 users on all of their devices. `text`, at most 256 bytes, is shown to them. */
  startCall(users: readonly string[], text = ""): Promise<CallId> {
    return this._request((now) => this._client.start(now, users, text));
  }

  /** Accepts a call. The event "accepted" names the room in which the members meet. */
  accept(call: CallId): Promise<void> {
    return this._act(call, CALL_ACCEPT);
  }

  /** Rejects a call on all devices of this user. */
  reject(call: CallId): Promise<void> {
    return this._act(call, CALL_REJECT);
  }

  /** Cancels a call that this user has started. */
  cancel(call: CallId): Promise<void> {
    return this._act(call, CALL_CANCEL);
  }

  /** Leaves a call that was accepted. */
  hangUp(call: CallId): Promise<void> {
    return this._act(call, CALL_HANG_UP);
  }

  /** Calls a further user into a call. */
  add(call: CallId, user: string): Promise<void> {
    return this._act(call, CALL_ADD, user);
  }

  async _act(call: CallId, act: number, user?: string): Promise<void> {
    await this._request((now) => this._client.act(now, call, act, user));
  }

  /** Makes a request, and waits for its result. */
  async _request(start: (now: number) => number): Promise<CallId> {
    const request = this._driver.run(start);
    const result = await this._driver.waitFor(() => this._client.takeResult(request));
    if (result instanceof NucleusError) {
      throw result;
    }
    return result;
  }

  /** Leaves: watchers see this at once, and the device leaves its call. */
  async leave(): Promise<void> {
    this._driver.run((now) => this._client.leave(now));
    await this._driver.until(() => this._client.session.isClosed());
  }

  /** Leaves at once, without waiting for an answer. */
  close(): void {
    this._driver.run((now) => this._client.close(now));
  }
}
