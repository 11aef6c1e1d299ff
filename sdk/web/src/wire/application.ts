// The payloads of the events on the protocol's own channels: requests of one peer to another with
// their answers (RPC), and typed events. The server relays them unread.

import { lossyText, Reader, strictText, utf8, WireError, Writer } from "./codec.js";
import { MAX_RPC_TEXT, MAX_RPC_TIMEOUT_MS } from "./limits.js";
import { isEventName } from "./text.js";

/** The channel of RPC on the events lane. */
export const RPC_CHANNEL = 240;
/** The channel of typed events on the events lane. */
export const TYPED_EVENT_CHANNEL = 241;

/** Length in bytes of a request in front of its method. */
export const RPC_REQUEST_BYTES = 10;

const REQUEST = 1;
const ANSWER = 2;

/** The codes of an answer. The callee has answered. */
export const RPC_ANSWERED = 0;
/** The callee has no such method. */
export const RPC_NO_SUCH_METHOD = 1;
/** Too many requests wait at the callee. */
export const RPC_BUSY = 2;
/** The first code of the application. The codes below are the protocol's. */
export const RPC_APPLICATION = 256;

/** A request of the sender to the recipient. */
export interface RpcRequestMessage {
  readonly kind: "request";
  /** The sender's number of this request. */
  readonly request: number;
  /** How long the sender still waits, 1 to `MAX_RPC_TIMEOUT_MS` ms. */
  readonly timeoutMs: number;
  /** What the recipient is to do: see `isEventName`. */
  readonly method: string;
  /** The application's data. */
  readonly payload: Uint8Array;
}

/** The answer to a request of the recipient. */
export interface RpcAnswerMessage {
  readonly kind: "answer";
  /** The number in the request. */
  readonly request: number;
  /** `RPC_ANSWERED`, or why the request failed. */
  readonly code: number;
  /** The answer; or a text for a person if the request failed: see `rpcText`. */
  readonly payload: Uint8Array;
}

/** The payload of an event on `RPC_CHANNEL`. */
export type RpcMessage = RpcRequestMessage | RpcAnswerMessage;

/** The payload of an event on `TYPED_EVENT_CHANNEL`. */
export interface TypedEvent {
  /** What the event is: see `isEventName`. */
  readonly type: string;
  /** The application's data. */
  readonly data: Uint8Array;
}

/** Runs a reader; `undefined` if the bytes are malformed. */
function tryRead<T>(payload: Uint8Array, read: (reader: Reader) => T): T | undefined {
  try {
    return read(new Reader(payload));
  } catch (error) {
    if (error instanceof WireError) {
      return undefined;
    }
    throw error;
  }
}

function readName(reader: Reader): string {
  const name = strictText(reader.bytes(reader.u8()));
  if (name === undefined || !isEventName(name)) {
    throw new WireError("not a name");
  }
  return name;
}

function putName(out: Writer, name: string): void {
  const bytes = utf8(name).subarray(0, 255);
  out.u8(bytes.length);
  out.bytes(bytes);
}

/** Reads the payload of an RPC; `undefined` if it is malformed or of an unknown kind. */
export function parseRpc(payload: Uint8Array): RpcMessage | undefined {
  return tryRead(payload, (reader): RpcMessage => {
    const kind = reader.u8();
    const request = reader.u32();
    if (kind === ANSWER) {
      return { kind: "answer", request, code: reader.u16(), payload: reader.rest() };
    }
    const timeoutMs = reader.u32();
    if (kind !== REQUEST || timeoutMs < 1 || timeoutMs > MAX_RPC_TIMEOUT_MS) {
      throw new WireError("not an RPC");
    }
    const method = readName(reader);
    return { kind: "request", request, timeoutMs, method, payload: reader.rest() };
  });
}

/** Encodes the payload of an RPC. The caller has checked the method with `isEventName`. */
export function encodeRpc(message: RpcMessage): Uint8Array {
  const out = new Writer();
  out.u8(message.kind === "request" ? REQUEST : ANSWER);
  out.u32(message.request);
  if (message.kind === "request") {
    out.u32(message.timeoutMs);
    putName(out, message.method);
  } else {
    out.u16(message.code);
  }
  out.bytes(message.payload);
  return out.copy();
}

/** Returns the text of a request that failed, from the payload of its answer. */
export function rpcText(payload: Uint8Array): string {
  return lossyText(payload.subarray(0, MAX_RPC_TEXT));
}

/** Reads the payload of a typed event; `undefined` if it is malformed. */
export function parseTypedEvent(payload: Uint8Array): TypedEvent | undefined {
  return tryRead(payload, (reader) => ({ type: readName(reader), data: reader.rest() }));
}

/** Encodes the payload of a typed event. The caller has checked the type with `isEventName`. */
export function encodeTypedEvent(event: TypedEvent): Uint8Array {
  const out = new Writer();
  putName(out, event.type);
  out.bytes(event.data);
  return out.copy();
}
