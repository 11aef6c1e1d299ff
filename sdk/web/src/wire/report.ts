// Reports: what each end tells the other about the link.

import { putPlain, readPlain } from "./archive.js";
import type { Writer } from "./codec.js";
import { Reader } from "./codec.js";
import { MESSAGE_KINDS, putFrameHeader } from "./frame.js";
import { struct, U16, U32, U8 } from "./kinds.js";
import type { Of } from "./kinds.js";
import { REPORT_INTERVAL_MAX, REPORT_INTERVAL_MIN } from "./limits.js";

/** A report. */
export const REPORT = 8;
/** The interval at which the server wants the client's reports. */
export const REPORT_INTERVAL = 17;

const Delay = struct({ arrival: U32, sendTime: U32, delayMin: U32, spread: U16, hold: U16 });

/**
 * The delay of the datagrams with a send time since the last report: the arrival and the send
 * time of the newest, and the least delay, in µs modulo 2^32; the mean minus the least in 10 µs;
 * the time from that arrival to the writing of the report in 0.1 ms.
 */
export type DelayReport = Of<typeof Delay>;

const Received = struct({ largest: U32, received: U32, bytes: U32, ce: U32, ect: U32 });

/** Cumulative figures of a client. All but the delay are of the realtime port: 0 without one. */
export type ClientReport = Of<typeof Received> & { delay: DelayReport | undefined };

const Counts = struct({ superseded: U32, suppressed: U32, dropped: U32, distant: U32 });

/** Cumulative counts of messages of one kind that the server did not deliver. */
export type KindCounts = Of<typeof Counts>;

const Link = struct({
  largest: U32,
  received: U32,
  rate: U32,
  speakers: U8,
  quality: U8,
  cause: U8,
  uplinkDelay: U16,
});

/**
 * Figures of the server about a link. `rate` is in bits a second, 0 = unknown; `speakers` 255 =
 * all; `quality` 0 = full, 1 = poses thinned, 2 = voices limited, 3 = least; `cause` 0 = none, 1
 * = network, 2 = server; `uplinkDelay` in 0.1 ms, 65,535 = unknown. `kinds` is in the order of
 * `MESSAGE_KINDS`.
 */
export type ServerReport = Of<typeof Link> & { kinds: KindCounts[] };

/** Counts of one kind that this version knows. */
const KNOWN_COUNTS = 4;

/** Reads a client's report. Throws `WireError` if its length is neither 20 nor at least 36. */
export function readClientReport(body: Uint8Array): ClientReport {
  const reader = new Reader(body);
  const report = readPlain(Received, reader);
  return { ...report, delay: reader.left > 0 ? readPlain(Delay, reader) : undefined };
}

/** Appends the frame of a client's report. */
export function putClientReport(out: Writer, report: ClientReport): void {
  putFrameHeader(out, REPORT, report.delay ? 36 : 20);
  putPlain(out, Received, report);
  if (report.delay) {
    putPlain(out, Delay, report.delay);
  }
}

/** Reads a server's report. Skips kinds and counts that this version does not know. */
export function readServerReport(body: Uint8Array): ServerReport {
  const reader = new Reader(body);
  const link = readPlain(Link, reader);
  const kinds = reader.u8();
  const counts = reader.u8();
  const table = Array.from({ length: kinds * counts }, () => reader.u32());
  const count = (kind: number, i: number): number =>
    (kind < kinds && i < counts ? table[kind * counts + i] : undefined) ?? 0;
  return {
    ...link,
    kinds: MESSAGE_KINDS.map((_, kind) => ({
      superseded: count(kind, 0),
      suppressed: count(kind, 1),
      dropped: count(kind, 2),
      distant: count(kind, 3),
    })),
  };
}

/** Appends the frame of a server's report. */
export function putServerReport(out: Writer, report: ServerReport): void {
  putFrameHeader(out, REPORT, 19 + 4 * KNOWN_COUNTS * report.kinds.length);
  putPlain(out, Link, report);
  out.u8(report.kinds.length);
  out.u8(KNOWN_COUNTS);
  report.kinds.forEach((counts) => putPlain(out, Counts, counts));
}

/** Returns the interval of a report-interval frame in ms, cut to the allowed range. */
export function reportInterval(units: number): number {
  return Math.min(Math.max(10 * units, REPORT_INTERVAL_MIN), REPORT_INTERVAL_MAX);
}
