// Frames, poses and voice against the protocol's vectors.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as wire from "../../src/wire/index.js";
import type { ClientFrame, Pose, ServerFrame, Transform } from "../../src/wire/index.js";
import { bytesOf, hexOf, vectors } from "./vectors.js";

type Fields = Record<string, never>;

interface Body {
  name: string;
  from: "client" | "server";
  hex: string;
  frames: ({ type: number } & Fields)[];
}

interface PoseCase {
  name: string;
  hex: string;
  rest: string;
  head: Transform;
  left: Transform | null;
  right: Transform | null;
  decoded: { head: Transform; left: Transform | null; right: Transform | null };
  extensions?: unknown;
}

interface VoiceCase {
  level: number;
  speaking: boolean;
  flags: number;
  opus: string;
  hex: string;
}

const file = vectors<{ bodies: Body[]; poses: PoseCase[]; voice: VoiceCase[] }>("realtime");

/** What the vectors call a frame that a browser's client has no use for. */
const UNUSED = new Set([5, 6, wire.PATH_CHALLENGE, wire.PATH_RESPONSE, wire.ACK, 14, 15, 238]);

/** Returns a frame as the vectors write it. */
function asVector(frame: ServerFrame | ClientFrame): Record<string, unknown> {
  switch (frame.kind) {
    case "message": {
      const { kind, payload, time, flags, ...fields } = frame.message;
      const timed = { flags: time === undefined ? flags : flags | 0x10, time: time ?? null };
      return { type: kind, ...fields, ...timed, payload: hexOf(payload) };
    }
    case "keepAlive": {
      const out = new wire.Writer();
      wire.putKeepAlive(out, frame.keepAlive);
      return { type: 9, body: hexOf(out.copy().subarray(2)) };
    }
    case "clock":
      return "request" in frame
        ? { type: 7, client_sent: frame.request.clientSent }
        : {
            type: 7,
            client_sent: frame.reply.clientSent,
            server_received: frame.reply.serverReceived,
            server_sent: frame.reply.serverSent,
            epoch: frame.reply.epoch,
          };
    case "report": {
      if ("rate" in frame.report) {
        const { uplinkDelay, ...fields } = frame.report;
        return { type: 8, ...fields, uplink_delay: uplinkDelay };
      }
      const { delay, ...fields } = frame.report;
      const { delayMin, sendTime, ...rest } = delay ?? { delayMin: 0, sendTime: 0 };
      const snake = delay ? { ...rest, delay_min: delayMin, send_time: sendTime } : null;
      return { type: 8, ...fields, delay: snake };
    }
    case "sendTime": {
      const out = new wire.Writer();
      out.u32(frame.time);
      return { type: 12, body: hexOf(out.copy()) };
    }
    case "reportInterval":
      return { type: 17, interval: frame.interval / 10 };
  }
}

/** Appends a frame that was read. */
function put(out: InstanceType<typeof wire.Writer>, frame: ServerFrame | ClientFrame): void {
  switch (frame.kind) {
    case "message":
      return wire.putMessage(out, frame.message);
    case "keepAlive":
      return wire.putKeepAlive(out, frame.keepAlive);
    case "clock":
      return "request" in frame
        ? wire.putClockRequest(out, frame.request)
        : wire.putClockReply(out, frame.reply);
    case "report":
      return "rate" in frame.report
        ? wire.putServerReport(out, frame.report)
        : wire.putClientReport(out, frame.report);
    case "sendTime":
      return wire.putSendTime(out, frame.time);
    case "reportInterval":
      return wire.putReportInterval(out, frame.interval);
  }
}

/** The vector's numbers above 2^53 are not exact in a clock reply. */
function rounded(fields: Record<string, unknown>): Record<string, unknown> {
  const number = (value: unknown): unknown => (typeof value === "bigint" ? Number(value) : value);
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, number(value)]));
}

test("every body is read and written as the vectors say", () => {
  let written = 0;
  for (const { name, from, hex, frames } of file.bodies) {
    const body = bytesOf(hex);
    const read = from === "client" ? wire.readClientBody(body) : wire.readServerBody(body);
    const expected = frames.filter(({ type }) => !UNUSED.has(type)).map(rounded);
    assert.deepEqual(read.map(asVector), expected, `${name}, read`);
    const isExact = !read.some((frame) => frame.kind === "clock" && "reply" in frame);
    if (isExact && read.length === frames.length) {
      const out = new wire.Writer();
      read.forEach((frame) => put(out, frame));
      assert.ok(hex.startsWith(hexOf(out.copy())), `${name}, written`);
      written += 1;
    }
  }
  assert.ok(written > 15, `only ${written} bodies were written`);
});

test("a clock reply comes back", () => {
  const reply = { clientSent: 5, serverReceived: 2 ** 53 - 1, serverSent: 2 ** 52, epoch: 7 };
  const out = new wire.Writer();
  wire.putClockReply(out, reply);
  assert.deepEqual(wire.readServerBody(out.copy()), [{ kind: "clock", reply }]);
});

test("a report with more or fewer kinds and counts is read", () => {
  const numbers = Array.from({ length: 30 }, (_, i) => [i, 0, 0, 0]).flat();
  const head = Array<number>(17).fill(1);
  const more = wire.readServerReport(Uint8Array.of(...head, 5, 6, ...numbers));
  assert.deepEqual(more.kinds[2], { superseded: 12, suppressed: 13, dropped: 14, distant: 15 });
  const cut = Uint8Array.of(...head, 5, 6, ...numbers).subarray(0, 138);
  assert.throws(() => wire.readServerReport(cut), wire.WireError);
  const fewer = wire.readServerReport(Uint8Array.of(...head, 1, 2, 7, 0, 0, 0, 8, 0, 0, 0));
  assert.deepEqual(fewer.kinds[0], { superseded: 7, suppressed: 8, dropped: 0, distant: 0 });
  assert.deepEqual(fewer.kinds[3], { superseded: 0, suppressed: 0, dropped: 0, distant: 0 });
});

test("the delay of a report is whole or absent, and intervals are cut", () => {
  for (let length = 0; length < 40; length += 1) {
    const body = new Uint8Array(length);
    const read = (): unknown => wire.readClientReport(body);
    if (length === 20 || length >= 36) {
      read();
    } else {
      assert.throws(read, wire.WireError, `${length} bytes`);
    }
  }
  const cut = [0, 5, 10, 100, 255].map(wire.reportInterval);
  assert.deepEqual(cut, [50, 50, 100, 1_000, 1_000]);
});

function close(found: readonly number[], expected: readonly number[], name: string): void {
  expected.forEach((value, i) => {
    // The file's numbers were computed in 32-bit floats.
    const error = Math.abs((found[i] ?? NaN) - value);
    assert.ok(error <= 2e-6 + 1e-6 * Math.abs(value), `${name}: ${found} is not ${expected}`);
  });
}

test("every pose is read and written as the vectors say", () => {
  for (const { name, hex, rest, decoded, extensions, ...given } of file.poses) {
    const { pose, rest: added } = wire.parsePose(bytesOf(hex));
    assert.equal(hexOf(added), rest, name);
    for (const part of ["head", "left", "right"] as const) {
      const expected = decoded[part];
      assert.equal(pose[part] !== undefined, expected !== null, name);
      close(pose[part]?.position ?? [], expected?.position ?? [], name);
      close(pose[part]?.rotation ?? [], expected?.rotation ?? [], name);
    }
    const input: Pose = {
      head: given.head,
      left: given.left ?? undefined,
      right: given.right ?? undefined,
    };
    const written = wire.encodePose(input);
    if (extensions === undefined) {
      assert.equal(hexOf(written) + rest, hex, `${name}, written`);
    } else {
      assert.equal(hexOf(written).slice(2), hex.slice(2, 2 * written.length), `${name}, written`);
    }
    assert.throws(() => wire.parsePose(written.subarray(0, -1)), wire.WireError, name);
  }
});

test("a pose that was read can be sent again, wherever it is", () => {
  const next = numbers(1);
  for (let round = 0; round < 20_000; round += 1) {
    const payload = Uint8Array.from({ length: 33 }, () => next() & 0xff);
    payload[0] = (payload[0] ?? 0) & 3;
    const written = wire.encodePose(wire.parsePose(payload).pose);
    const { pose } = wire.parsePose(written);
    assert.equal(wire.checkPose(pose), undefined, hexOf(payload));
  }
});

/** Numbers of 32 bits from a seed (xorshift). */
export function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

test("a pose that would be written as another is named", () => {
  const still: Transform["rotation"] = [0, 0, 0, 1];
  const at = (x: number, rotation = still): Transform => ({ position: [x, 1, 2], rotation });
  const head = at(1);
  assert.equal(wire.checkPose({ head, left: at(3), right: at(-1) }), undefined);
  const angles = { position: [0, 1, 2], rotation: [0, 90, 0] };
  const flat = { position: [0, 1], rotation: [0, 0, 0, 1] };
  for (const bad of [angles, flat, { position: [0, 0, 0] }, {}, undefined]) {
    assert.equal(wire.checkPose({ head: bad } as unknown as Pose), "shape");
    assert.equal(wire.checkPose({ head, left: bad ?? {} } as unknown as Pose), "shape");
  }
  assert.equal(wire.checkPose({ head: at(NaN) }), "notFinite");
  assert.equal(wire.checkPose({ head, right: at(Infinity) }), "notFinite");
  assert.equal(wire.checkPose({ head: at(8_389) }), "headOutOfRange");
  assert.equal(wire.checkPose({ head, left: at(3.06) }), "handOutOfRange");
  assert.equal(wire.checkPose({ head: at(1, [0, 0, 0, 0]) }), "rotation");
  const odd = wire.encodePose({ head: at(NaN, [NaN, 0, 0, 0]) });
  const expected: Pose = { head: { position: [0, 1, 2], rotation: still } };
  assert.deepEqual(wire.parsePose(odd).pose.head, expected.head);
});

test("every voice payload is read and written as the vectors say", () => {
  for (const { hex, opus, ...fields } of file.voice) {
    const voice = wire.parseVoice(bytesOf(hex));
    assert.deepEqual(voice, { ...fields, opus: bytesOf(opus) });
    const out = new wire.Writer();
    wire.putVoice(out, { ...fields, opus: bytesOf(opus) });
    assert.equal(hexOf(out.copy()), hex);
  }
});
