// The requests of other peers that wait for an answer of this client.

/**
 * Requests of one user that may wait: more than an application makes at a time. A user that asks
 * more, with however many peers, does not keep others from asking.
 */
const MAX_OF_ONE_USER = 32;
/**
 * Requests that may wait in all: 50 users that ask a host at the same time, five times each. Their
 * payloads wait in the queue of events, which has a limit of its own.
 */
const MAX_INCOMING = 256;
/**
 * Requests that a user may make: some at once, and on average a sixth of the events that a peer may
 * send. So the answers to a user that asks without end do not use up what this client may send.
 */
const REQUESTS: Rate = { atOnce: 128, aSecond: 32 };
/** Requests of a user that the client answers with "busy" by itself. */
const REFUSALS: Rate = { atOnce: 32, aSecond: 8 };
/** Users whose allowances are known: as many as peers in the largest rooms. */
const MAX_USERS = 1_024;
/** After this time in ms an allowance is whole again. */
const REFILLED = 4_000;

/** How often something may happen. */
interface Rate {
  readonly atOnce: number;
  readonly aSecond: number;
}

/** What is left of a rate. */
class Allowance {
  readonly #rate: Rate;
  #left: number;
  #at: number;

  constructor(now: number, rate: Rate) {
    this.#rate = rate;
    this.#left = rate.atOnce;
    this.#at = now;
  }

  /** When one was asked for last. */
  get at(): number {
    return this.#at;
  }

  /** Uses one. Returns whether there was one. */
  take(now: number): boolean {
    const { atOnce, aSecond } = this.#rate;
    const passed = Math.max(now - this.#at, 0);
    this.#left = Math.min(this.#left + (passed * aSecond) / 1_000, atOnce);
    this.#at += passed;
    const hasOne = this.#left >= 1;
    this.#left -= hasOne ? 1 : 0;
    return hasOne;
  }
}

/** A request that waits for an answer. */
export interface WaitingRpc {
  readonly from: number;
  /** The caller's number. */
  readonly request: number;
  readonly user: string;
  /** When the caller waits no longer. */
  readonly ends: number;
}

/**
 * What becomes of a request that has arrived: the id under which it waits; "busy" if too many
 * wait, or the user asks too often, and the caller is told so; "ignored": the same, and the user
 * was told often enough; "repeated" if a request with its number waits already.
 */
export type RpcAdmission = number | "busy" | "ignored" | "repeated";

/** The requests that wait. Those whose timeout has passed count as gone. */
export class IncomingRpcs {
  /**
   * Number of requests so far. An id is never used again, so the answer to a request that has ended
   * cannot reach another one.
   */
  #admitted = 0;
  readonly #waiting = new Map<number, WaitingRpc>();
  readonly #users = new Map<string, { requests: Allowance; refusals: Allowance }>();

  /** Takes a request of a peer of this user, which waits for so many ms. */
  admit(now: number, from: number, user: string, request: number, timeoutMs: number): RpcAdmission {
    this.#removeIf(({ ends }) => ends <= now);
    const waiting = [...this.#waiting.values()];
    if (waiting.some((rpc) => rpc.from === from && rpc.request === request)) {
      return "repeated";
    }
    const allowances = this.#allowancesOf(now, user);
    if (!allowances) {
      return "ignored";
    }
    const ofUser = waiting.filter((rpc) => rpc.user === user).length;
    const isFull = waiting.length >= MAX_INCOMING || ofUser >= MAX_OF_ONE_USER;
    if (!allowances.requests.take(now) || isFull) {
      return allowances.refusals.take(now) ? "busy" : "ignored";
    }
    this.#admitted += 1;
    this.#waiting.set(this.#admitted, { from, request, user, ends: now + timeoutMs });
    return this.#admitted;
  }

  /** Returns what a user may still ask; `undefined` if too many users are known. */
  #allowancesOf(now: number, user: string) {
    const known = this.#users.get(user);
    if (known) {
      return known;
    }
    if (this.#users.size >= MAX_USERS) {
      for (const [name, { requests }] of this.#users) {
        if (now - requests.at >= REFILLED) {
          this.#users.delete(name);
        }
      }
    }
    if (this.#users.size >= MAX_USERS) {
      return undefined;
    }
    const allowances = {
      requests: new Allowance(now, REQUESTS),
      refusals: new Allowance(now, REFUSALS),
    };
    this.#users.set(user, allowances);
    return allowances;
  }

  #removeIf(isOver: (rpc: WaitingRpc) => boolean): void {
    for (const [id, rpc] of this.#waiting) {
      if (isOver(rpc)) {
        this.#waiting.delete(id);
      }
    }
  }

  /** Returns a request that waits. */
  get(now: number, id: number): WaitingRpc | undefined {
    const rpc = this.#waiting.get(id);
    return rpc && rpc.ends > now ? rpc : undefined;
  }

  remove(id: number): void {
    this.#waiting.delete(id);
  }

  peerLeft(peer: number): void {
    this.#removeIf(({ from }) => from === peer);
  }

  clear(): void {
    this.#waiting.clear();
  }

  /** Returns how many requests wait. */
  waiting(now: number): number {
    return [...this.#waiting.values()].filter(({ ends }) => ends > now).length;
  }
}
