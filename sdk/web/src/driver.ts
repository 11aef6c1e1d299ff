/**
 * `SessionDriver`: drives a client with a carrier, the clock, and the application's token
 * provider.
 */

import { type Carrier, type Connection, DialError } from "./carrier/carrier.js";
import type { Clock } from "./clock.js";
import { ConnectionIo, type IoOwner } from "./io.js";
import { LATER_TOKEN_MS, provide, type TokenProvider } from "./provider.js";
import { addressOf } from "./session/address.js";
import type { ClientSession } from "./session/client-session.js";
import { localError, messageOf } from "./session/error.js";
import type { SessionInput, SessionOutput } from "./session/step.js";
import { pinsIn } from "./session/token.js";

/** Longest time in ms between two looks at the clock. Browsers cut longer timers. */
const LONGEST_SLEEP_MS = 60_000;
/**
 * A timer that is so late, in ms, shows that the page stood still: the device slept, or the tab was
 * frozen. Timers of a busy page are late by less.
 */
const STOOD_STILL_MS = 5_000;

/**
 * A client that a shell drives: `RoomClient` and `SocialClient`. `O` are the outputs of its own.
 */
export interface DrivenClient<O extends { kind: string }> {
  /** The session, to ask what it wants. */
  readonly session: ClientSession;
  /** The token of the next join. */
  readonly joinToken: string;
  /** Handles an input of the session. */
  handle(now: number, input: SessionInput): void;
  /** Does the work that is due at `now`. */
  handleTimeout(now: number): void;
  /** Returns when {@link handleTimeout} must be called next; `Infinity`: never. */
  deadline(): number;
  /** Returns the next output, until there is none. */
  poll(): O | SessionOutput | undefined;
  /** Takes the token that the output "tokenWanted" asks for; `undefined` if there is none now. */
  takeToken(now: number, token: string | undefined): void;
}

/** What the owner of a driver does. */
export interface DriverHooks<O> {
  /** Carries out an output of the client's own kind. */
  output?(now: number, output: O): void;
  /** Handles a datagram of the session. */
  datagram?(now: number, bytes: Uint8Array): void;
  /** Lets callers begin that waited for capacity. Returns whether one has begun. */
  serve?(now: number): boolean;
  /** Does the owner's own work that is due. */
  handleTimeout?(now: number): void;
  /** Returns when {@link handleTimeout} must be called next. */
  deadline?(): number;
  /** The page may have slept, or its network may be another one. */
  woken?(now: number): void;
}

/** How a driver reaches servers. */
export interface DriverOptions {
  carrier: Carrier;
  clock: Clock;
  /** The pins that the application trusts. `undefined`: those in its newest two tokens. */
  pins: readonly Uint8Array[] | undefined;
  provider: TokenProvider | undefined;
}

/** Drives a client. */
export class SessionDriver<
  O extends { kind: string },
  C extends DrivenClient<O>,
> implements IoOwner {
  readonly client: C;
  _options: DriverOptions;
  _hooks: DriverHooks<O>;
  /** The pins of the newest token and of the one before: nobody may have checked the newest one. */
  _tokenPins: readonly (readonly Uint8Array[])[];
  _io: ConnectionIo | undefined;
  _dialing: AbortController | undefined;
  /** Those who wait for a change. Each returns whether it is done. */
  _waiters = new Set<() => boolean>();
  _isBusy = false;
  _cancelTimer: (() => void) | undefined;
  _timerAt = Infinity;
  _stopListening: () => void;

  constructor(client: C, options: DriverOptions, hooks: DriverHooks<O> = {}) {
    this.client = client;
    this._options = options;
    this._hooks = hooks;
    this._tokenPins = [pinsIn(client.joinToken), []];
    this._stopListening = listen(() => this.wake());
    this.run(() => {});
  }

  get session(): ClientSession {
    return this.client.session;
  }

  /** Returns the time in ms. */
  now(): number {
    return this._options.clock.now();
  }

  /** Changes the client, and carries out what follows from it. */
  run<T>(change: (now: number) => T): T {
    try {
      return change(this.now());
    } finally {
      this._advance();
    }
  }

  /**
   * Waits until `check` returns a value, which is asked again after each change. Those who ask
   * first are served first. Each change asks all of them, so callers of which there can be many
   * wait in a `WaitingLine`. Rejects with what `check` throws, and with the reason of `signal` when
   * it aborts; `check` is not asked after that.
   */
  waitFor<T>(check: (now: number) => T | undefined, signal?: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const stop = () => {
        this._waiters.delete(waiter);
        reject(signal?.reason);
      };
      const waiter = () => {
        try {
          const found = check(this.now());
          if (found === undefined) {
            return false;
          }
          resolve(found);
        } catch (error) {
          reject(error);
        }
        signal?.removeEventListener("abort", stop);
        return true;
      };
      this._waiters.add(waiter);
      signal?.addEventListener("abort", stop);
      this._advance();
    });
  }

  async until(check: () => boolean): Promise<void> {
    if (!check()) {
      await this.waitFor(() => check() || undefined);
    }
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.after(ms, resolve));
  }

  /** Calls back after so many ms. Returns what cancels the timer. */
  after(ms: number, callback: () => void): () => void {
    return this._options.clock.after(ms, callback);
  }

  input(input: SessionInput): void {
    this.run((now) => this.client.handle(now, input));
  }

  datagram(bytes: Uint8Array): void {
    this.run((now) => {
      this._hooks.datagram?.(now, bytes);
      // Timers of a hidden page are slow, but what arrives wakes it.
      if (now >= this._timerAt) {
        this._handleTimeout(now);
      }
    });
  }

  isCurrent(io: ConnectionIo): boolean {
    return this._io === io;
  }

  drop(io: ConnectionIo): void {
    if (this._io === io) {
      this._io = undefined;
    }
  }

  /** Sends a datagram. Without a connection it is lost. */
  sendDatagram(bytes: Uint8Array): void {
    this._io?.connection.sendDatagram(bytes);
  }

  /**
   * Notes that the page may have slept, or that its network may be another one: a client that waits
   * for its next try tries at once.
   */
  wake(): void {
    this.run((now) => {
      this._noteTime(now);
      this.session.tryNow(now);
      this._hooks.woken?.(now);
    });
  }

  /** Does what is due. */
  _handleTimeout(now: number): void {
    this._noteTime(now);
    this.client.handleTimeout(now);
    this._hooks.handleTimeout?.(now);
  }

  /** Gives a client that comes back the time in which the page stood still. */
  _noteTime(now: number): void {
    const late = now - this._timerAt;
    if (late >= STOOD_STILL_MS) {
      this.session.extend(late);
      this._timerAt = now;
    }
  }

  /** Carries out outputs and serves those who wait, until nothing is left to do. */
  _advance(): void {
    if (this._isBusy) {
      return;
    }
    this._isBusy = true;
    try {
      do {
        for (let output; (output = this.client.poll());) {
          this._carryOut(output);
        }
      } while (this._serve());
    } finally {
      this._isBusy = false;
    }
    this._setTimer();
    if (this.session.isClosed()) {
      this._stopListening();
    }
  }

  /** Asks those who wait. Returns whether somebody was served, which may have changed something. */
  _serve(): boolean {
    let hasServed = this._hooks.serve?.(this.now()) ?? false;
    for (const waiter of [...this._waiters]) {
      if (waiter()) {
        this._waiters.delete(waiter);
        hasServed = true;
      }
    }
    return hasServed;
  }

  _setTimer(): void {
    const now = this.now();
    const due = Math.min(this.client.deadline(), this._hooks.deadline?.() ?? Infinity);
    const at = Math.min(Math.max(due, now), now + LONGEST_SLEEP_MS);
    if (this._cancelTimer && this._timerAt === at) {
      return;
    }
    this._cancelTimer?.();
    this._cancelTimer = undefined;
    this._timerAt = at;
    if (due < Infinity || !this.session.isClosed()) {
      this._cancelTimer = this._options.clock.after(at - now, () => {
        this._cancelTimer = undefined;
        this.run((now) => this._handleTimeout(now));
      });
    }
  }

  _carryOut(output: O | SessionOutput): void {
    switch (output.kind) {
      case "connect":
        this._close(0, "");
        void this._dial((output as SessionOutput & { kind: "connect" }).server);
        break;
      case "stream":
        void this._io?.act(output as SessionOutput & { kind: "stream" });
        break;
      case "refuse":
        this._io?.refuse((output as SessionOutput & { kind: "refuse" }).number);
        break;
      case "close": {
        const { code, text } = output as SessionOutput & { kind: "close" };
        this._close(code, text);
        break;
      }
      case "tokenWanted":
        void this._provide();
        break;
      default:
        this._hooks.output?.(this.now(), output as O);
    }
  }

  /** Closes the connection, and ends a try to connect. */
  _close(code: number, text: string): void {
    const io = this._io;
    this._io = undefined;
    io?.connection.close(code, text);
    this._dialing?.abort();
    this._dialing = undefined;
  }

  async _dial(server: string): Promise<void> {
    const dialing = new AbortController();
    const { signal } = dialing;
    this._dialing = dialing;
    let connection: Connection | undefined;
    try {
      const { carrier } = this._options;
      connection = await carrier.dial(addressFor(server), this._pins(), signal);
      // The server may never let the stream open.
      signal.addEventListener("abort", () => connection?.close(0, ""));
      const control = signal.aborted ? undefined : await connection.openControl();
      if (!control || signal.aborted) {
        return connection.close(0, "");
      }
      this._dialing = undefined;
      this._io = new ConnectionIo(this, connection, control);
      this.input({ kind: "connected", maxDatagramSize: connection.maxDatagramSize });
      this._io?.start();
    } catch (error) {
      connection?.close(0, "");
      if (!signal.aborted) {
        this._dialing = undefined;
        this.input({ kind: "notConnected", error: notReachable(server, error) });
      }
    }
  }

  /** Returns the pins that are trusted now. A token that names none changes nothing. */
  _pins(): readonly Uint8Array[] {
    if (this._options.pins) {
      return this._options.pins;
    }
    const [newest = []] = this._tokenPins;
    const pins = pinsIn(this.client.joinToken);
    if (pins.length > 0 && String(pins) !== String(newest)) {
      this._tokenPins = [pins, newest];
    }
    return this._tokenPins.flat();
  }

  async _provide(): Promise<void> {
    const { clock, provider } = this._options;
    // Without a token now, the client asks again later.
    const token =
      provider && (await provide(clock, provider, LATER_TOKEN_MS).catch(() => undefined));
    this.run((now) => this.client.takeToken(now, token));
  }
}

/** Calls back when the page wakes up, or has a network again. Returns what stops it. */
function listen(wake: () => void): () => void {
  if (typeof window === "undefined" || typeof document === "undefined") {
    return () => {};
  }
  const wakeIfVisible = () => {
    if (document.visibilityState === "visible") {
      wake();
    }
  };
  window.addEventListener("online", wake);
  window.addEventListener("pageshow", wake);
  document.addEventListener("visibilitychange", wakeIfVisible);
  return () => {
    window.removeEventListener("online", wake);
    window.removeEventListener("pageshow", wake);
    document.removeEventListener("visibilitychange", wakeIfVisible);
  };
}

/** Returns a server's address with its port. Other servers may name one that is no address. */
function addressFor(server: string): string {
  const address = addressOf(server);
  if (address === undefined) {
    throw new DialError("a server is host:port", false);
  }
  return address;
}

function notReachable(server: string, error: unknown) {
  const mayBeCertificate = error instanceof DialError && error.mayBeCertificate;
  // The browser does not tell why.
  const advice = mayBeCertificate
    ? ". Is the server running at this address, and may pages of this origin connect? " +
      "Is the token of this server? If its certificate was renewed, get a new token"
    : "";
  const text = `cannot connect to ${server}: ${messageOf(error).replace(/\.+$/, "")}${advice}`;
  return localError("notReachable", text, { mayBeCertificate });
}
