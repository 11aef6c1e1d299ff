// Requests of one peer to another and their answers (RPC). Both travel as events, so they are
// reliable, and exactly once over resumes.
//
// `Rpcs` has both sides of a client: the requests that it has made, and those that it has to
// answer. The room sends and receives the events.

import type { NucleusError } from "../session/error.js";
import { localError } from "../session/error.js";
import { encodeRpc, parseRpc, RPC_ANSWERED, RPC_APPLICATION } from "../wire/application.js";
import { RPC_BUSY } from "../wire/application.js";
import { EMPTY } from "../wire/codec.js";
import { MAX_RPC_TIMEOUT_MS } from "../wire/limits.js";
import { isEventName } from "../wire/text.js";
import type { RpcFault } from "./error.js";
import { codeOfFault, rpcInterrupted, textOfFault } from "./error.js";
import { IncomingRpcs } from "./incoming.js";
import type { RpcResult } from "./outgoing.js";
import { OutgoingRpcs } from "./outgoing.js";

/** A request to another peer. */
export interface RpcCall {
  /** The callee. */
  readonly to: number;
  /**
   * What the callee is to do: a name of 1 to 64 bytes, without control and invisible characters.
   */
  readonly method: string;
  /** The application's data. Together with the method at most 16,374 bytes. */
  readonly payload: Uint8Array;
  /** How long the caller waits: above 0 to 60,000 ms. */
  readonly timeoutMs: number;
}

/** What an application answers to a request: a payload, or a failure. */
export type RpcAnswer = Uint8Array | RpcFault;

/** What a client does about an RPC event that has arrived. */
export type RpcArrival =
  /** Nothing: an answer, or an event that is ignored. */
  | { readonly kind: "nothing" }
  /** The application is to answer a request. The id is never used twice by a client. */
  | {
      readonly kind: "request";
      readonly id: number;
      readonly method: string;
      readonly payload: Uint8Array;
    }
  /** The sender gets this answer, an event's payload. */
  | { readonly kind: "answer"; readonly payload: Uint8Array };

const NOTHING: RpcArrival = { kind: "nothing" };

/** The requests of a client to other peers, and theirs to this client. */
export class Rpcs {
  readonly #outgoing: OutgoingRpcs;
  readonly #incoming = new IncomingRpcs();
  #malformed = 0;

  /**
   * Creates the tables of a client. `first` is a random `u32`, the number of the first request: a
   * page that resumes the session of an earlier one must not use that one's numbers.
   */
  constructor(first: number) {
    this.#outgoing = new OutgoingRpcs(first);
  }

  /** Checks a request, except for its size and its callee. Throws `NucleusError`. */
  check({ method, timeoutMs }: RpcCall): void {
    if (!isEventName(method)) {
      const rule = "1 to 64 bytes of text, without control characters and invisible characters";
      throw localError("invalidName", `a method has ${rule}`);
    }
    if (!(timeoutMs > 0 && timeoutMs <= MAX_RPC_TIMEOUT_MS)) {
      throw localError("invalidArgument", "the timeout must be above 0 and at most 60,000 ms");
    }
    if (!this.#outgoing.hasCapacity()) {
      throw localError("tooMany", "too many requests of this client wait for their answers");
    }
  }

  /** Adds a request that `check` allows. Returns its number and the payload of its event. */
  start(now: number, call: RpcCall): { number: number; payload: Uint8Array } {
    const number = this.#outgoing.start(call.to, now + call.timeoutMs);
    return { number, payload: request(number, call.timeoutMs, call.method, call.payload) };
  }

  /**
   * Returns the payload of an RPC event that is written now: a request says how long its caller
   * still waits. `undefined` if it is a request whose caller does not wait any more.
   */
  refresh(now: number, payload: Uint8Array): Uint8Array | undefined {
    const message = parseRpc(payload);
    if (message?.kind !== "request") {
      return payload;
    }
    const left = this.#outgoing.timeLeft(now, message.request);
    return left === undefined
      ? undefined
      : request(message.request, left, message.method, message.payload);
  }

  /** Ends the request of an event that cannot be sent. */
  fail(payload: Uint8Array, error: NucleusError): void {
    const message = parseRpc(payload);
    if (message?.kind === "request") {
      this.#outgoing.end(message.request, error);
    }
  }

  /** Handles an RPC event of another peer, which is one of this user. */
  receive(now: number, from: number, user: string, payload: Uint8Array): RpcArrival {
    const message = parseRpc(payload);
    if (message?.kind === "answer") {
      const isRight = this.#outgoing.answer(from, message.request, message.code, message.payload);
      this.#malformed += isRight ? 0 : 1;
      return NOTHING;
    }
    if (!message) {
      this.#malformed += 1;
      return NOTHING;
    }
    const { request, timeoutMs, method } = message;
    const admission = this.#incoming.admit(now, from, user, request, timeoutMs);
    if (admission === "busy") {
      return { kind: "answer", payload: answer(request, RPC_BUSY, EMPTY) };
    }
    if (typeof admission === "number") {
      return { kind: "request", id: admission, method, payload: message.payload.slice() };
    }
    this.#malformed += admission === "repeated" ? 1 : 0;
    return NOTHING;
  }

  /**
   * Returns the caller of a request that waits, and the payload of the event that answers it.
   * Throws `NucleusError` "notWaiting" if the request was answered before, its timeout has
   * passed, its caller has left, or this client has become a new peer; and "reservedCode".
   */
  answer(now: number, id: number, result: RpcAnswer): { to: number; payload: Uint8Array } {
    const isAnswer = result instanceof Uint8Array;
    const code = isAnswer ? RPC_ANSWERED : codeOfFault(result);
    if (!isAnswer && typeof result.code === "number" && !isApplicationCode(code)) {
      const text = `code ${code} is reserved for the protocol; an application uses 256 to 65535`;
      throw localError("reservedCode", text);
    }
    const rpc = this.#incoming.get(now, id);
    if (!rpc) {
      throw localError("notWaiting", "the request no longer waits for an answer");
    }
    const payload = isAnswer ? result : textOfFault(result);
    return { to: rpc.from, payload: answer(rpc.request, code, payload) };
  }

  /** Notes that a request is answered. */
  answered(id: number): void {
    this.#incoming.remove(id);
  }

  /** Returns how long the caller of a request still waits, in ms; `undefined` if it does not. */
  timeLeft(now: number, id: number): number | undefined {
    const rpc = this.#incoming.get(now, id);
    return rpc && rpc.ends - now;
  }

  /** Ends the requests whose timeout has passed. */
  handleTimeout(now: number): void {
    this.#outgoing.expire(now);
  }

  /** Returns when `handleTimeout` must be called next; `Infinity`: never. */
  deadline(): number {
    return this.#outgoing.deadline();
  }

  /** Ends the requests to a peer that has left, and forgets those of that peer. */
  peerLeft(peer: number): void {
    this.#outgoing.peerLeft(peer);
    this.#incoming.peerLeft(peer);
  }

  /** Ends all requests: this client is a new peer, or closed. */
  endAll(reason: "interrupted" | "closed"): void {
    const isClosed = reason === "closed";
    const error = isClosed ? localError("closed", "the room is closed") : rpcInterrupted();
    this.#outgoing.endAll(error);
    this.#incoming.clear();
  }

  /** Takes the result of a request; `undefined` while there is none. */
  take(number: number): RpcResult | undefined {
    return this.#outgoing.take(number);
  }

  /** Forgets a request for whose result nobody waits. */
  forget(number: number): void {
    this.#outgoing.forget(number);
  }

  /** Counts a malformed event. */
  countMalformed(): void {
    this.#malformed += 1;
  }

  /** How many events were malformed. */
  get malformed(): number {
    return this.#malformed;
  }

  /** Returns how many requests of this client wait, and how many to this client. */
  waiting(now: number): { outgoing: number; incoming: number } {
    return { outgoing: this.#outgoing.waiting(), incoming: this.#incoming.waiting(now) };
  }
}

/** Returns whether a number is a code of the application. */
function isApplicationCode(code: number): boolean {
  return Number.isInteger(code) && code >= RPC_APPLICATION && code <= 0xffff;
}

function request(
  number: number,
  timeoutMs: number,
  method: string,
  payload: Uint8Array,
): Uint8Array {
  const rounded = Math.min(Math.ceil(timeoutMs), MAX_RPC_TIMEOUT_MS);
  return encodeRpc({ kind: "request", request: number, timeoutMs: rounded, method, payload });
}

function answer(request: number, code: number, payload: Uint8Array): Uint8Array {
  return encodeRpc({ kind: "answer", request, code, payload });
}
