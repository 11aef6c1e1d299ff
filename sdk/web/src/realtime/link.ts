// A client's end of the link to the server's realtime plane, for a client without a realtime port:
// all frames travel inside datagrams of the session, and QUIC authenticates them and removes
// duplicates.
//
// The link keeps itself alive, estimates the server's clock, and writes reports. It does not know
// rooms and payloads. Times are local, in ms, unless they are called the server's, in µs.
//
// To send data, call `begin`, append frames of messages, and call `finish`.

import { Writer } from "../wire/codec.js";
import {
  PLANE_SESSION,
  putClockRequest,
  putKeepAlive,
  readServerBody,
  type ServerFrame,
} from "../wire/control.js";
import type { Message } from "../wire/frame.js";
import {
  CLOCK_INTERVAL,
  EARLY_REPORT_AFTER,
  KEEP_ALIVE,
  LINK_ID,
  MAX_BODY,
  MIN_BODY,
  REPORT_INTERVAL_MAX,
  REPORT_INTERVAL_MIN,
  SETTLE_SAMPLES,
} from "../wire/limits.js";
import { putClientReport, type ServerReport } from "../wire/report.js";
import { ClockSync, micros } from "./clock-sync.js";
import { Delays } from "./delays.js";

/** Interval of the first hellos of a new link. A hello is a keep-alive and a clock request. */
const HELLO_INTERVAL = 200;
/** Number of hellos at {@link HELLO_INTERVAL}. Further hellos back off. */
const HELLO_ATTEMPTS = 10;
/** First pause after these hellos. It doubles, up to {@link KEEP_ALIVE}. */
const HELLO_PAUSE = 1_000;
/** Interval at which the choice of plane is announced until the server confirms it. */
const ANNOUNCE_INTERVAL = 200;
/**
 * Interval of the first clock samples, so that one queue on the path does not affect all of them.
 */
const SETTLE_INTERVAL = 100;
/** The client has traffic if it sent or received a message within this time. */
const TRAFFIC_TIME = 1_000;
/**
 * A regular clock request that is due within this time travels with data, so that it seldom needs a
 * datagram of its own.
 */
const EARLY_TIME = 100;
/** Shortest time between two datagrams that only show the session the client's current address. */
const SESSION_PING = 1_000;
/**
 * A clock request that has no answer for so long was lost, or its answer was. Far above the round
 * trip of a network on which people talk.
 */
const ANSWER_TIME = 2_000;
/**
 * The server is silent if it has answered no clock request for this long, and had
 * {@link ANSWER_TIME} for the answer to a second one. Every datagram counts as an answer. So one
 * lost datagram is no silence, however rarely the client asks.
 */
const SILENT_TIME = 2 * ANSWER_TIME;
/**
 * How long a client whose request has no answer asks every {@link ANSWER_TIME}. Without this, an
 * idle one would ask only with its next keep-alive. It covers the silence and the two evaluations
 * of the quality that tell of it; one more, because a timer may be late.
 */
const ASKING_TIME = SILENT_TIME + 2 * ANSWER_TIME;
/** The choice of a client without a realtime port, for good. */
const CHOICE = { change: 0, plane: PLANE_SESSION } as const;

/** What the server has granted. */
export interface LinkOptions {
  /** The link's id, never used again within its session. */
  linkId: number;
  /** Most bytes of frames in a datagram that this client sends, from `MIN_BODY` to `MAX_BODY`. */
  maxBody: number;
  /** The interval of the client's reports in ms until the server steers it. */
  reportIntervalMs: number;
}

/** The control frames that are due. */
interface DueFrames {
  keepAlive: boolean;
  clock: boolean;
  report: boolean;
}

/** A client's end of a link. */
export class Link {
  readonly clock = new ClockSync();
  /** Most bytes of frames in a datagram that this client sends. */
  readonly maxBody: number;
  /** The server's newest report. */
  serverReport: ServerReport | undefined;
  /** Datagrams that were malformed, or of another link. */
  rejected = 0;
  readonly #linkId: number;
  /** When the next hello is due, until the clock has a sample. */
  #helloAt: number;
  #helloAttempts = 0;
  #settleSamplesLeft = SETTLE_SAMPLES;
  #clockRequested: number;
  /** Until when the newest clock request may be answered; `undefined` if it is answered. */
  #answerBy: number | undefined;
  /** When the last datagram left, session pings not counted. */
  #lastSent: number;
  /** Clock requests since the newest datagram of the server, and when the first two of them left. */
  #asked = { count: 0, since: 0, again: 0 };
  /** When the last datagram left. */
  #lastSentAny: number;
  #lastTraffic = -Infinity;
  #isKeepAliveWanted = false;
  /** When to announce the choice of plane next; `Infinity` once the server has confirmed it. */
  #announceAt: number;
  #lastReport: number;
  #reportInterval: number;
  #isReportWanted = false;
  readonly #delays = new Delays();
  /** The send time of the newest datagram, in µs modulo 2^32; `undefined` if it has none. */
  #sendTime: number | undefined;
  /** Whether a session ping that asks for an answer is due. */
  #isPingWanted = false;

  constructor(now: number, { linkId, maxBody, reportIntervalMs }: LinkOptions) {
    this.#linkId = linkId;
    this.maxBody = clamp(maxBody, MIN_BODY, MAX_BODY);
    this.#reportInterval = clamp(reportIntervalMs, REPORT_INTERVAL_MIN, REPORT_INTERVAL_MAX);
    this.#helloAt = this.#announceAt = now;
    this.#clockRequested = this.#lastReport = this.#lastSent = this.#lastSentAny = now;
  }

  /**
   * Takes a datagram: the link's id, and frames. Handles the control frames. Returns the messages,
   * or `undefined` if the datagram is refused and has no effect.
   *
   * A datagram without a link id has no effect either, but is not counted as rejected: with one
   * byte every 5 s, the server wakes pages whose timers are slow.
   */
  handleInput(now: number, datagram: Uint8Array): Message[] | undefined {
    if (datagram.length < LINK_ID) {
      return undefined;
    }
    const frames = this.#open(datagram);
    if (frames === undefined) {
      this.rejected += 1;
      return undefined;
    }
    this.#sendTime = undefined;
    this.#asked.count = 0;
    const messages: Message[] = [];
    for (const frame of frames) {
      if (frame.kind === "message") {
        messages.push(frame.message);
      } else {
        this.#handleControl(now, frame);
      }
    }
    if (messages.length > 0) {
      this.#lastTraffic = now;
      this.#isReportWanted = true;
    }
    return messages;
  }

  #open(datagram: Uint8Array): ServerFrame[] | undefined {
    if (datagram.length > LINK_ID + MAX_BODY) {
      return undefined;
    }
    const id = new DataView(datagram.buffer, datagram.byteOffset).getUint32(0, true);
    if (id !== this.#linkId) {
      return undefined;
    }
    try {
      return readServerBody(datagram.subarray(LINK_ID));
    } catch {
      return undefined;
    }
  }

  #handleControl(now: number, frame: Exclude<ServerFrame, { kind: "message" }>): void {
    switch (frame.kind) {
      case "keepAlive":
        if (frame.keepAlive.choice?.change === CHOICE.change) {
          this.#announceAt = Infinity;
        }
        break;
      case "clock":
        this.#answerBy = undefined;
        if (this.clock.handleReply(now, frame.reply)) {
          this.#settleSamplesLeft = SETTLE_SAMPLES;
        }
        break;
      case "report":
        this.serverReport = frame.report;
        break;
      case "sendTime":
        this.#sendTime = frame.time;
        if (this.#delays.add(now, frame.time)) {
          // The next clock requests are due as soon as after the first reply.
          this.#settleSamplesLeft = SETTLE_SAMPLES;
        }
        break;
      case "reportInterval":
        this.#reportInterval = clamp(frame.interval, REPORT_INTERVAL_MIN, REPORT_INTERVAL_MAX);
        break;
    }
  }

  /** Tells the link that this machine's network has changed. The link then sends at once. */
  networkChanged(): void {
    this.#isKeepAliveWanted = true;
    this.#isPingWanted = true;
    this.clock.forgetRoundTrip();
    this.#delays.reset();
  }

  /** Returns when to call {@link pollOutput} next, if no input arrives before. */
  deadline(): number {
    return Math.min(
      this.#keepAliveAt(),
      this.#helloDueAt(),
      this.#announceAt,
      this.#clockAt(),
      this.#reportAt(),
      this.#pingAt(),
      this.#isKeepAliveWanted ? -Infinity : Infinity,
    );
  }

  /** Writes the next datagram of the link's own control frames. Returns whether there is one. */
  pollOutput(now: number, out: Writer): boolean {
    out.u32(this.#linkId);
    if (this.#pingAt() <= now) {
      if (this.#isPingWanted) {
        this.#isPingWanted = false;
        putKeepAlive(out, { choice: CHOICE });
        this.#lastSent = now;
      }
      // Otherwise an empty body: QUIC's acknowledgement of the datagram suffices.
      this.#lastSentAny = now;
      return true;
    }
    const due = this.#due(now);
    if (!due.keepAlive && !due.clock && !due.report) {
      out.clear();
      return false;
    }
    this.#write(now, due, out);
    this.#sent(now, false);
    return true;
  }

  /**
   * Begins a datagram with messages: writes the link's id, and control frames that are due. A
   * message of the largest size fits behind them, up to `LINK_ID` and {@link maxBody} bytes.
   */
  begin(now: number, out: Writer): void {
    out.u32(this.#linkId);
    const due = this.#due(now);
    due.clock ||= this.#settleSamplesLeft === 0 && this.#clockAt() <= now + EARLY_TIME;
    const reportEarly = this.#reportInterval / 10;
    due.report ||= !this.#delays.hasRisen && this.#reportAt() <= now + reportEarly;
    this.#write(now, due, out);
  }

  /** Notes that a datagram with messages leaves. */
  finish(now: number): void {
    this.#sent(now, true);
  }

  /** Returns the server's clock at `now` in µs; `undefined` before the first clock reply. */
  serverTime(now: number): number | undefined {
    return this.clock.serverTime(now);
  }

  /** The smoothed round trip in ms; `undefined` before the first clock reply. */
  get roundTrip(): number | undefined {
    return this.clock.roundTrip;
  }

  /** Returns whether the server does not answer: then nothing is known of the path. */
  isSilent(now: number): boolean {
    const { count, since, again } = this.#asked;
    return count >= 2 && now - since >= SILENT_TIME && now - again >= ANSWER_TIME;
  }

  /**
   * Returns how long ago in ms the server sent the datagram that was handled last, unambiguous for
   * half an hour. `undefined` before the first clock reply, and for a datagram without a send time.
   */
  datagramAge(now: number): number | undefined {
    const serverTime = this.clock.serverTime(now);
    if (serverTime === undefined || this.#sendTime === undefined) {
      return undefined;
    }
    // The estimate may be a little behind.
    return Math.max((serverTime - this.#sendTime) | 0, 0) / 1_000;
  }

  /**
   * Returns whether a clock request has had no answer: the network loses datagrams. Returns each
   * loss once.
   */
  takeLoss(now: number): boolean {
    const isLost = this.#answerBy !== undefined && this.#answerBy <= now;
    if (isLost) {
      this.#answerBy = undefined;
    }
    return isLost;
  }

  #sent(now: number, hasMessages: boolean): void {
    this.#lastSent = this.#lastSentAny = now;
    this.#lastTraffic = hasMessages ? now : this.#lastTraffic;
  }

  #due(now: number): DueFrames {
    const isIdle = this.#keepAliveAt() <= now;
    const isHello = this.#helloDueAt() <= now;
    return {
      keepAlive: isIdle || isHello || this.#isKeepAliveWanted || this.#announceAt <= now,
      clock: isIdle || isHello || this.#clockAt() <= now,
      report: isIdle || this.#reportAt() <= now,
    };
  }

  /** Writes the frames that are due, and updates their timers as if they were sent. */
  #write(now: number, { keepAlive, clock, report }: DueFrames, out: Writer): void {
    if (keepAlive) {
      putKeepAlive(out, { choice: CHOICE });
      this.#isKeepAliveWanted = false;
      if (this.#announceAt !== Infinity) {
        this.#announceAt = now + ANNOUNCE_INTERVAL;
      }
    }
    if (clock) {
      putClockRequest(out, { clientSent: micros(now) });
      this.#clockRequested = now;
      this.#asked.count += 1;
      if (this.#asked.count === 1) {
        this.#asked.since = now;
      } else if (this.#asked.count === 2) {
        this.#asked.again = now;
      }
      if (this.clock.isSet) {
        this.#settleSamplesLeft = Math.max(this.#settleSamplesLeft - 1, 0);
        this.#answerBy ??= now + ANSWER_TIME;
      }
    }
    if (report) {
      // The first five figures are of the realtime port.
      const none = { largest: 0, received: 0, bytes: 0, ce: 0, ect: 0 };
      putClientReport(out, { ...none, delay: this.#delays.take(now) });
      this.#lastReport = now;
      this.#isReportWanted = false;
    }
    if ((keepAlive || clock) && !this.clock.isSet) {
      this.#helloAttempts += 1;
      const rare = this.#helloAttempts - HELLO_ATTEMPTS;
      const pause = Math.min(HELLO_PAUSE * 2 ** (rare - 1), KEEP_ALIVE);
      this.#helloAt = now + (rare <= 0 ? HELLO_INTERVAL : pause);
    }
  }

  #keepAliveAt(): number {
    return this.#lastSent + KEEP_ALIVE;
  }

  #helloDueAt(): number {
    return this.clock.isSet ? Infinity : this.#helloAt;
  }

  /**
   * Returns when the next session ping is due. While the link is idle, the pings fall halfway
   * between the keep-alives, so that the server receives something twice as often.
   */
  #pingAt(): number {
    if (this.#isPingWanted) {
      return this.#lastSentAny + SESSION_PING;
    }
    const between = this.#lastSent + KEEP_ALIVE / 2;
    const regular = this.#lastSentAny + KEEP_ALIVE;
    return this.#lastSentAny < between ? Math.min(regular, between) : regular;
  }

  #reportAt(): number {
    if (!this.#isReportWanted) {
      return Infinity;
    }
    const wait = this.#delays.hasRisen ? EARLY_REPORT_AFTER : this.#reportInterval;
    return this.#lastReport + wait;
  }

  #clockAt(): number {
    if (!this.clock.isSet) {
      return Infinity;
    }
    if (this.#settleSamplesLeft > 0) {
      return this.#clockRequested + SETTLE_INTERVAL;
    }
    const { count, since } = this.#asked;
    if (count > 0 && this.#clockRequested - since < ASKING_TIME) {
      return this.#clockRequested + ANSWER_TIME;
    }
    const at = this.#clockRequested + CLOCK_INTERVAL;
    return this.#lastTraffic + TRAFFIC_TIME >= at ? at : Infinity;
  }
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}
