// The errors of RPC.
//
// A request that ended with "rpcTimedOut", "peerLeft", "interrupted" or "closed" may have been
// carried out. After every other error it was refused, by the callee or before it was sent.

import type { NucleusError } from "../session/error.js";
import { localError } from "../session/error.js";
import { RPC_BUSY, RPC_NO_SUCH_METHOD, rpcText } from "../wire/application.js";
import { utf8 } from "../wire/codec.js";
import { MAX_RPC_TEXT } from "../wire/limits.js";

/** A failure that a callee reports to its caller. */
export interface RpcFault {
  /** The application's code, 256 to 65,535; or "noSuchMethod" or "busy". */
  readonly code: number | "noSuchMethod" | "busy";
  /** A text for a person. More than 1,024 bytes of UTF-8 are cut. */
  readonly text?: string;
}

/** Returns the number of a failure's code. */
export function codeOfFault({ code }: RpcFault): number {
  return code === "noSuchMethod" ? RPC_NO_SUCH_METHOD : code === "busy" ? RPC_BUSY : code;
}

/**
 * Returns the text of a failure as it is sent: at most `MAX_RPC_TEXT` bytes, and whole
 * characters.
 */
export function textOfFault({ text = "" }: RpcFault): Uint8Array {
  const bytes = utf8(text);
  let end = Math.min(bytes.length, MAX_RPC_TEXT);
  // The bytes behind the first of a character are 10xxxxxx.
  while (end < bytes.length && ((bytes[end] ?? 0) & 0xc0) === 0x80) {
    end -= 1;
  }
  return bytes.subarray(0, end);
}

/** Returns the error that an answer with this code and payload reports. */
export function errorOfAnswer(code: number, payload: Uint8Array): NucleusError {
  if (code === RPC_NO_SUCH_METHOD) {
    return localError("noSuchMethod", "the peer has no such method");
  }
  if (code === RPC_BUSY) {
    return localError("peerBusy", "too many requests wait at the peer; try again later");
  }
  const text = rpcText(payload);
  const message = `the peer reports failure ${code}: ${text || "no reason given"}`;
  return localError("rpcFault", message, { number: code, text });
}

/** No answer came within the timeout. */
export function rpcTimedOut(): NucleusError {
  return localError("rpcTimedOut", "the peer did not answer in time");
}

/** The callee left the room before its answer arrived. */
export function peerLeft(): NucleusError {
  return localError("peerLeft", "the peer has left the room");
}

/** This client has joined the room again as a new peer, so no answer can come. */
export function rpcInterrupted(): NucleusError {
  return localError("interrupted", "this client is a new peer, so no answer can come");
}
