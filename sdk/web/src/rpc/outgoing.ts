// The requests of this client to other peers.

import type { NucleusError } from "../session/error.js";
import { Requests } from "../session/requests.js";
import { RPC_ANSWERED } from "../wire/application.js";
import { errorOfAnswer, rpcTimedOut, peerLeft } from "./error.js";

/**
 * Requests that may wait at the same time, with the results that nobody has taken. Twice as many as
 * one callee lets wait.
 */
export const MAX_OUTGOING = 64;

/** The answer to a request, or why there is none. */
export type RpcResult = Uint8Array | NucleusError;

/** A request that waits for its answer. */
interface OutgoingRpc {
  readonly to: number;
  readonly ends: number;
}

/** The requests of this client over all of its sessions. Each gets exactly one result. */
export class OutgoingRpcs {
  readonly #requests: Requests<OutgoingRpc, RpcResult>;

  /** Creates an empty table whose first request has this number. */
  constructor(first: number) {
    this.#requests = new Requests(MAX_OUTGOING, first);
  }

  hasCapacity(): boolean {
    return this.#requests.hasCapacity();
  }

  /** Adds a request and returns its number. */
  start(to: number, ends: number): number {
    return this.#requests.start({ to, ends });
  }

  /**
   * Takes an answer. Returns whether it may have come: it is ignored if the request does not wait
   * any more, and is wrong if another peer was asked.
   */
  answer(from: number, request: number, code: number, payload: Uint8Array): boolean {
    const asked = this.#requests.get(request);
    if (asked?.to === from) {
      const isAnswered = code === RPC_ANSWERED;
      this.end(request, isAnswered ? payload.slice() : errorOfAnswer(code, payload));
    }
    return asked === undefined || asked.to === from;
  }

  /** Ends a request that waits. */
  end(request: number, result: RpcResult): void {
    if (this.#requests.remove(request)) {
      this.#requests.keep(request, result);
    }
  }

  #endIf(error: NucleusError, isOver: (rpc: OutgoingRpc) => boolean): void {
    for (const [request] of this.#requests.finishIf(isOver)) {
      this.#requests.keep(request, error);
    }
  }

  /** Ends the requests whose timeout has passed. */
  expire(now: number): void {
    this.#endIf(rpcTimedOut(), ({ ends }) => ends <= now);
  }

  /** Ends the requests to a peer that has left. */
  peerLeft(peer: number): void {
    this.#endIf(peerLeft(), ({ to }) => to === peer);
  }

  endAll(error: NucleusError): void {
    this.#endIf(error, () => true);
  }

  /** Returns how long a request still waits, in ms; `undefined` if it does not. */
  timeLeft(now: number, request: number): number | undefined {
    const left = (this.#requests.get(request)?.ends ?? now) - now;
    return left > 0 ? left : undefined;
  }

  /** Returns when the first timeout passes; `Infinity`: never. */
  deadline(): number {
    return Math.min(...[...this.#requests.pending()].map(([, { ends }]) => ends));
  }

  take(number: number): RpcResult | undefined {
    return this.#requests.take(number);
  }

  forget(number: number): void {
    this.#requests.remove(number);
    this.#requests.forgetResult(number);
  }

  /** Returns how many requests wait. */
  waiting(): number {
    return [...this.#requests.pending()].length;
  }
}
