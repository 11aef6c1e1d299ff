/** Where and when a client joins: the first time, and again after its session was lost. */

import { CODES } from "../wire/code.js";
import { localError, type NucleusError } from "./error.js";
import { Backoff } from "./reconnect.js";
import { NamedServers, type NextTry, ReturnServers } from "./servers.js";

/**
 * Longest time for all the servers that a refusal of the first join names, in ms: a person waits.
 */
const OTHERS_MS = 30_000;
/** If less than this is left to come back, another try is not worth a connection; in ms. */
const SHORTEST_TRY_MS = 1_000;

/** What a client does next to get a session. */
export type TryStep =
  /** Join at this server, `host:port`. */
  | { kind: "join"; server: string }
  /** Ask again after a pause of so many ms. */
  | { kind: "pause"; ms: number }
  /** Another try cannot help, or the time is over. */
  | { kind: "giveUp"; error: NucleusError };

/** The tries of the first join. Only servers that a refusal names are tried further. */
class FirstJoin {
  /** The server of the newest try. */
  _server: string;
  _named = new NamedServers();
  /** The reason that is told if no server lets the client in. */
  _error: NucleusError | undefined;
  deadline = Infinity;

  constructor(server: string) {
    this._server = server;
  }

  failed(now: number, error: NucleusError): void {
    this._named.take(error);
    this.deadline = Math.min(this.deadline, now + OTHERS_MS);
    // The first server's reason says most, unless it only names others.
    if (!this._error || this._error.number === CODES.moved) {
      this._error = error;
    }
  }

  next(now: number): TryStep {
    if (!this._error) {
      return { kind: "join", server: this._server };
    }
    const server = this._named.pop();
    if (server === undefined || now >= this.deadline) {
      return { kind: "giveUp", error: this._error };
    }
    this._server = server;
    return { kind: "join", server };
  }
}

/** The tries after one loss. */
class ComeBack {
  deadline: number;
  _backoff = new Backoff();
  /** The error of the newest try that had one. */
  _error: NucleusError;
  /** Whether the pause before the next try is over. */
  _hasPaused = false;
  _hasTried = false;
  _next: NextTry = 0;

  constructor(deadline: number, lost: NucleusError) {
    this.deadline = deadline;
    this._error = lost;
  }

  failed(now: number, error: NucleusError, next: NextTry): void {
    this._next = next;
    this._hasPaused = false;
    // A try that the end has cut short says less than the one before.
    if (!(this.deadline <= now && error.code === "noServerAnswer")) {
      this._error = error;
    }
  }

  next(now: number, random: number, servers: ReturnServers): TryStep {
    const left = this.deadline - now;
    const least = this._next;
    if (left <= 0 || least === "never") {
      return { kind: "giveUp", error: this._error };
    }
    if (least !== "atOnce" && !this._hasPaused) {
      if (least >= left || (this._hasTried && left < SHORTEST_TRY_MS)) {
        return { kind: "giveUp", error: this._error };
      }
      this._hasPaused = true;
      const pause = this._backoff.pause(least, random);
      // The last try needs time too.
      return { kind: "pause", ms: Math.min(pause, Math.max(least, left / 2)) };
    }
    this._hasTried = true;
    return { kind: "join", server: servers.nextServer() };
  }
}

/** The servers of a client, and its tries to get a session. */
export class Tries {
  _first: FirstJoin;
  /** Where a client that has had a session comes back. */
  _servers: ReturnServers | undefined;
  _comeBack: ComeBack | undefined;

  constructor(server: string) {
    this._first = new FirstJoin(server);
  }

  /** Whether the client has had a session. */
  get isReturn(): boolean {
    return this._servers !== undefined;
  }

  /** Notes that the newest try succeeded, and where its server wants clients to enter again. */
  joined(entries: readonly string[]): void {
    this._servers =
      this._servers?.joined(entries) ?? new ReturnServers(this._first._server, entries);
    this._comeBack = undefined;
  }

  /** Begins to come back after a loss. `lost` is the error if no try has another one. */
  beginReturn(now: number, patienceMs: number, lost: NucleusError): void {
    this._comeBack = new ComeBack(now + patienceMs, lost);
  }

  /** Returns when the tries end, whatever they have reached; `Infinity` if they do not. */
  deadline(): number {
    return this._servers ? (this._comeBack?.deadline ?? Infinity) : this._first.deadline;
  }

  /** Gives the tries more time, because the program stood still for so long. */
  extend(ms: number): void {
    this._first.deadline += ms;
    if (this._comeBack) {
      this._comeBack.deadline += ms;
    }
  }

  /** Takes the error of a try. */
  failed(now: number, error: NucleusError): void {
    if (this._servers) {
      this._comeBack?.failed(now, error, this._servers.failed(error));
    } else {
      this._first.failed(now, error);
    }
  }

  /** Takes the error of a try after which a later one may help. */
  failedForNow(now: number, error: NucleusError): void {
    this.failed(now, error);
    if (this._comeBack) {
      this._comeBack._next = 0;
    }
  }

  /** Returns what the client does next. `random` spreads the pauses of many clients. */
  next(now: number, random: number): TryStep {
    if (!this._servers) {
      return this._first.next(now);
    }
    const none = localError("closed", "there is no session");
    return this._comeBack?.next(now, random, this._servers) ?? { kind: "giveUp", error: none };
  }
}
