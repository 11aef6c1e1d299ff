/** Which server a client tries next: at the first connect, and after a lost session. */

import { CODES } from "../wire/code.js";
import { MAX_ENDPOINTS, MAX_MOVES } from "../wire/limits.js";
import type { NucleusError } from "./error.js";
import { retryDelay } from "./reconnect.js";

/** The servers that refusals have named. They are tried before all others. */
export class NamedServers {
  _waiting: string[] = [];
  /** Refusals in a row that named servers. */
  _moves = 0;

  /** Returns the next server, as `host:port`. */
  pop(): string | undefined {
    return this._waiting.shift();
  }

  /**
   * Takes the servers that a refusal names. Returns whether there are any. Ignores them after
   * {@link MAX_MOVES} such refusals in a row: the servers then name each other.
   */
  take(error: NucleusError): boolean {
    const named = namedBy(error);
    if (named.length === 0) {
      this._moves = 0;
      return false;
    }
    if (this._moves >= MAX_MOVES) {
      return false;
    }
    this._moves += 1;
    this._waiting = named.slice(0, MAX_ENDPOINTS);
    return true;
  }
}

/** Returns the servers that the error of a join names, if others may help after it. */
function namedBy(error: NucleusError): readonly string[] {
  const { moved, serverFull, shuttingDown } = CODES;
  const helps = [moved, serverFull, shuttingDown].some((code) => code === error.number);
  return error.isRefusal && helps ? error.endpoints : [];
}

/**
 * What a client does after a failed try: at once, at the next server; after a pause of at least so
 * many ms; or never, because another try cannot help.
 */
export type NextTry = "atOnce" | "never" | number;

/** The servers to which a client with a lost session comes back. */
export class ReturnServers {
  /** The server that the client was at last, as `host:port`. */
  _home: string;
  /** The server of the newest try. */
  _tried: string;
  /** Where the server wants its clients to enter again, each as `host:port`. */
  _entries: readonly string[];
  _named = new NamedServers();
  _tries = 0;

  constructor(home: string, entries: readonly string[]) {
    this._home = this._tried = home;
    this._entries = entries;
  }

  /** Notes that the newest try succeeded, and where its server wants clients to enter again. */
  joined(entries: readonly string[]): ReturnServers {
    return new ReturnServers(this._tried, entries);
  }

  /**
   * Returns the server of the next try: one that a refusal has named, else the entries and then the
   * server of the lost session, in turn.
   */
  nextServer(): string {
    return (this._tried = this._named.pop() ?? this._nextInTurn());
  }

  _nextInTurn(): string {
    const all = this._entries.filter((entry) => entry !== this._home);
    all.push(this._home);
    return all[this._tries++ % all.length] ?? this._home;
  }

  /** Takes the error of a try. */
  failed(error: NucleusError): NextTry {
    const isNamed = this._named.take(error);
    if (isNamed) {
      return error.number === CODES.moved ? "atOnce" : (retryDelay(error) ?? 0);
    }
    return retryDelay(error) ?? "never";
  }
}
