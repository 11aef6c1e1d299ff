// The link's control frames, and the frames of a whole body.

import type { Writer } from "./codec.js";
import { EMPTY, Reader } from "./codec.js";
import { isMessage, putFrameHeader, readFrames, readMessage } from "./frame.js";
import type { Message, RawFrame } from "./frame.js";
import { readClientReport, readServerReport, REPORT, REPORT_INTERVAL } from "./report.js";
import type { ClientReport, ServerReport } from "./report.js";
import { reportInterval } from "./report.js";

/** A clock request from the client, or a clock reply from the server. */
export const CLOCK = 7;
/** A keep-alive. The server answers each with the same body. */
export const KEEP_ALIVE_FRAME = 9;
/** A path challenge and its response, on the realtime port alone. */
export const PATH_CHALLENGE = 10;
export const PATH_RESPONSE = 11;
/** The time on the server's clock at which the datagram was sent. */
export const SEND_TIME = 12;
/** The server's acknowledgement of messages on the realtime port. */
export const ACK = 13;

/** The planes that a keep-alive names. */
export const PLANE_REALTIME = 0;
export const PLANE_SESSION = 1;

/** The plane that a client has chosen for both directions. */
export interface PlaneChoice {
  /** Number of the client's change, wrapping. */
  readonly change: number;
  readonly plane: typeof PLANE_REALTIME | typeof PLANE_SESSION;
}

/** A keep-alive; `choice` is `undefined` for an empty body and for an unknown plane. */
export interface KeepAlive {
  readonly choice: PlaneChoice | undefined;
}

/** A client's request for the server's time: the client's own clock in µs when it was sent. */
export interface ClockRequest {
  readonly clientSent: number;
}

/**
 * The server's answer: three of NTP's four times in µs. A time above 2^53 - 1 is not exact. Times
 * of two epochs cannot be compared.
 */
export interface ClockReply {
  readonly clientSent: number;
  readonly serverReceived: number;
  readonly serverSent: number;
  readonly epoch: number;
}

/** A frame that a client receives. */
export type ServerFrame =
  | { readonly kind: "message"; readonly message: Message }
  | { readonly kind: "keepAlive"; readonly keepAlive: KeepAlive }
  | { readonly kind: "clock"; readonly reply: ClockReply }
  | { readonly kind: "report"; readonly report: ServerReport }
  /** The server's clock in µs modulo 2^32. */
  | { readonly kind: "sendTime"; readonly time: number }
  /** The interval of the client's reports in ms, cut to the allowed range. */
  | { readonly kind: "reportInterval"; readonly interval: number };

/** A frame that a server receives. */
export type ClientFrame =
  | { readonly kind: "message"; readonly message: Message }
  | { readonly kind: "keepAlive"; readonly keepAlive: KeepAlive }
  | { readonly kind: "clock"; readonly request: ClockRequest }
  | { readonly kind: "report"; readonly report: ClientReport };

/**
 * Reads all frames of a body from the server. Leaves out frames that a client without a realtime
 * port has no use for, and frames of unknown types. Throws `WireError` if any frame is malformed:
 * then none counts.
 */
export function readServerBody(body: Uint8Array): ServerFrame[] {
  return readFrames(body).flatMap((frame): ServerFrame[] => {
    const reader = new Reader(frame.body);
    switch (frame.kind) {
      case CLOCK:
        return [{ kind: "clock", reply: readClockReply(reader) }];
      case REPORT:
        return [{ kind: "report", report: readServerReport(frame.body) }];
      case SEND_TIME:
        return [{ kind: "sendTime", time: reader.u32() }];
      case REPORT_INTERVAL:
        return [{ kind: "reportInterval", interval: reportInterval(reader.u8()) }];
      case ACK:
        reader.u32();
        return [];
      default:
        return readCommon(frame, reader);
    }
  });
}

/** Reads all frames of a body from a client, as `readServerBody` does. For tests and tools. */
export function readClientBody(body: Uint8Array): ClientFrame[] {
  return readFrames(body).flatMap((frame): ClientFrame[] => {
    if (frame.kind === CLOCK) {
      return [{ kind: "clock", request: { clientSent: time(new Reader(frame.body)) } }];
    }
    if (frame.kind === REPORT) {
      return [{ kind: "report", report: readClientReport(frame.body) }];
    }
    return readCommon(frame, new Reader(frame.body));
  });
}

/** Reads a frame that both ends receive. */
function readCommon({ kind, body }: RawFrame, reader: Reader): (ServerFrame & ClientFrame)[] {
  if (isMessage(kind)) {
    return [{ kind: "message", message: readMessage(kind, body) }];
  }
  if (kind === KEEP_ALIVE_FRAME) {
    return [{ kind: "keepAlive", keepAlive: readKeepAlive(reader) }];
  }
  if (kind === PATH_CHALLENGE || kind === PATH_RESPONSE) {
    reader.bytes(8);
  }
  return [];
}

function readKeepAlive(reader: Reader): KeepAlive {
  if (reader.left === 0) {
    return { choice: undefined };
  }
  const change = reader.u16();
  const plane = reader.u8();
  const isKnown = plane === PLANE_REALTIME || plane === PLANE_SESSION;
  return { choice: isKnown ? { change, plane } : undefined };
}

function time(reader: Reader): number {
  return Number(reader.u64());
}

function readClockReply(reader: Reader): ClockReply {
  return {
    clientSent: time(reader),
    serverReceived: time(reader),
    serverSent: time(reader),
    epoch: reader.u32(),
  };
}

/** Appends a frame with its type, length and body. */
export function putFrame(out: Writer, kind: number, body: Uint8Array): void {
  putFrameHeader(out, kind, body.length);
  out.bytes(body);
}

/** Appends a keep-alive. */
export function putKeepAlive(out: Writer, { choice }: KeepAlive): void {
  if (!choice) {
    putFrame(out, KEEP_ALIVE_FRAME, EMPTY);
    return;
  }
  putFrameHeader(out, KEEP_ALIVE_FRAME, 3);
  out.u16(choice.change);
  out.u8(choice.plane);
}

/** Appends a clock request. Cuts a fraction of a µs. */
export function putClockRequest(out: Writer, { clientSent }: ClockRequest): void {
  putFrameHeader(out, CLOCK, 8);
  putTime(out, clientSent);
}

/** Appends a clock reply. */
export function putClockReply(out: Writer, reply: ClockReply): void {
  putFrameHeader(out, CLOCK, 28);
  putTime(out, reply.clientSent);
  putTime(out, reply.serverReceived);
  putTime(out, reply.serverSent);
  out.u32(reply.epoch);
}

/** Appends a send-time frame: the server's clock in µs. */
export function putSendTime(out: Writer, now: number): void {
  putFrameHeader(out, SEND_TIME, 4);
  out.u32(Math.floor(now) % 2 ** 32);
}

/** Appends a report-interval frame of a time in ms. */
export function putReportInterval(out: Writer, interval: number): void {
  putFrame(out, REPORT_INTERVAL, Uint8Array.of(interval / 10));
}

function putTime(out: Writer, time: number): void {
  out.u64(BigInt(Math.floor(time)));
}
