/**
 * `ClientSession`: all sessions of one client with its servers, one after the other. It joins,
 * reads and writes the streams, and comes back after a loss. Rooms and social sessions use it.
 */

import type { ConnectionEnd } from "../carrier/carrier.js";
import { CODES } from "../wire/code.js";
import { Ping } from "../wire/handshake.js";
import { Leave } from "../wire/messages.js";
import type { Lane } from "../wire/messaging.js";
import { encodeMessage, type Schema } from "../wire/schema.js";
import { messageOf } from "./error.js";
import type { StreamSource } from "./incoming.js";
import { type Phase, SessionJoining } from "./joining.js";
import { endpointsOf, hello } from "./opening.js";
import { concat } from "./outgoing.js";
import { joinErrorOf, mayReconnect, reasonOf } from "./reconnect.js";
import type { SessionInput, SessionOutput, SessionStep } from "./step.js";

/**
 * Longest time from the end of one of the server's streams to the close that gives the reason, in
 * ms. The server sends both at once, so this allows for lost packets.
 */
const CLOSE_MS = 2_000;
/** Longest time that a leave waits for the server's confirmation, in ms. */
const LEAVE_MS = 1_000;

/**
 * All sessions of one client with its servers.
 *
 * The owner passes what has arrived to `handle`, and calls `handleTimeout` at `deadline`. It
 * carries out the outputs of `pollOutput`, and applies the steps of `nextStep` to what it knows.
 */
export class ClientSession extends SessionJoining {
  /** Begins the first join. */
  start(now: number): void {
    if (this._phase.kind === "idle") {
      this._nextTry(now);
    }
  }

  /** Handles an input. */
  handle(now: number, input: SessionInput): void {
    const streams = this._streams;
    switch (input.kind) {
      case "connected":
        return this._connected(input.maxDatagramSize);
      case "notConnected":
        return this._attemptFailed(now, input.error);
      case "closed":
        return this._closed(now, input.end);
      case "ending":
        if (streams) {
          streams.isDraining ||= input.isFinal;
        }
        return;
    }
    if (!streams) {
      return;
    }
    const { incoming, outgoing } = streams;
    switch (input.kind) {
      case "streamOpened":
        incoming.open(input.number);
        break;
      case "bytes":
        incoming.push(input.source, input.bytes);
        break;
      case "streamEnded":
        incoming.end(input.source, input.isBroken);
        streams.isAnswerOver ||= input.source === "control" && !input.isBroken;
        break;
      case "written":
        outgoing.written(input.target);
        if (input.target !== "control") {
          this._steps.push({ kind: "written", lane: input.target });
        }
        break;
      case "finished":
        outgoing.finished(input.target);
        break;
      case "stopped":
        incoming.hasEndedStream = true;
        break;
    }
    this._readAnswer(now);
  }

  /** Does the work that is due at `now`. */
  handleTimeout(now: number): void {
    const phase = this._phase;
    if (phase.kind === "joining" && phase.attempt !== "decided") {
      if (Math.min(this._tries.deadline(), phase.deadline) <= now) {
        this._giveUpAttempt(this._noAnswer());
      } else {
        this._attemptTimeout(now);
      }
    } else if (phase.kind === "pausing" && phase.until <= now) {
      this._nextTry(now);
    } else if (phase.kind === "leaving" && phase.until <= now) {
      this.close();
    } else if (phase.kind === "running" && this._isReading) {
      if (this._streams && this._streams.lostAt <= now) {
        this._streamEnded(now);
      }
    }
  }

  /** Returns when {@link handleTimeout} must be called next; `Infinity`: never. */
  deadline(): number {
    const phase = this._phase;
    switch (phase.kind) {
      case "pausing":
      case "leaving":
        return phase.until;
      case "joining":
        // The owner waits for a token, as long as the tries last.
        return phase.attempt === "decided"
          ? this._tries.deadline()
          : Math.min(phase.deadline, phase.until, this._tries.deadline());
      case "running":
        // While nothing is read, the close may wait behind other bytes.
        return this._isReading ? (this._streams?.lostAt ?? Infinity) : Infinity;
      default:
        return Infinity;
    }
  }

  /** Returns the next output. */
  pollOutput(): SessionOutput | undefined {
    const output = this._outputs.shift();
    if (output || !this._streams) {
      return output;
    }
    const number = this._streams.incoming.takeRefused();
    if (number !== undefined) {
      return { kind: "refuse", number };
    }
    const action = this._streams.outgoing.poll();
    return action && { kind: "stream", ...action };
  }

  /** Returns the next step. The owner must apply each step before it asks for the next one. */
  nextStep(now: number): SessionStep | undefined {
    const waiting = this._steps.shift();
    const streams = this._streams;
    if (waiting || !streams || !(this.isRunning() || this.isLeaving())) {
      return waiting;
    }
    // What is not read comes again with the resume.
    if (this._reads()) {
      try {
        const item = streams.incoming.next();
        if (item) {
          return { kind: "received", item };
        }
      } catch (error) {
        this.fail(error);
        return this._steps.shift();
      }
      if (streams.incoming.hasEndedStream) {
        streams.lostAt = Math.min(streams.lostAt, now + CLOSE_MS);
      }
    }
    if (streams.end) {
      const { code, text } = reasonOf(streams.end);
      this._lost(now, code, text);
    }
    return this._steps.shift();
  }

  /**
   * Sets whether messages are wanted. Otherwise they stay at the server, and the carrier's flow
   * control makes the senders wait.
   */
  setReading(isReading: boolean): void {
    this._isReading = isReading;
  }

  /** Returns whether bytes of the stream are wanted now. The caller reads a stream only then. */
  wants(source: StreamSource): boolean {
    if (!this._streams) {
      return false;
    }
    return this._phase.kind === "joining"
      ? source === "control"
      : this._reads() && this._streams.incoming.wants(source);
  }

  /** Returns whether the caller should accept a stream that the server opens. */
  wantsStream(): boolean {
    return this._reads() && (this._streams?.incoming.wantsStream() ?? false);
  }

  _reads(): boolean {
    const { kind } = this._phase;
    const isDraining = this._streams?.isDraining ?? false;
    return this._isReading || isDraining || kind === "joining" || kind === "leaving";
  }

  /** Answers the step "open" with the encoded `Join` or `Enter`. */
  open(message: Uint8Array): void {
    this._streams?.outgoing.pushControl(concat(hello(this._agent), message));
  }

  /**
   * Answers the step "answered": the session has begun. `lastSequences` are those of earlier
   * sessions, by lane; 0 for a new peer. `entries` is where clients enter again.
   */
  begin(
    features: number,
    rosterVersion: number,
    lastSequences: readonly [bigint, bigint],
    entries: readonly Uint8Array[],
  ): void {
    this._phase = { kind: "running" };
    this._tries.joined(endpointsOf(entries));
    if (this._streams) {
      const { incoming } = this._streams;
      incoming.features = features;
      incoming.rosterVersion = rosterVersion;
      incoming.lastSequences = [...lastSequences];
    }
  }

  /** Closes the session for good, because the server has broken the protocol. */
  fail(error: unknown): void {
    this.end(CODES.malformed, messageOf(error));
  }

  /** Closes the session for good, with a reason for the server and the application. */
  end(code: number, text: string): void {
    this._close(code, text, code, text);
  }

  /**
   * Closes the session for good, because the application does not take its events. `code` is the
   * server's reason for the loss before.
   */
  endUntaken(code: number | undefined): void {
    this.end(code ?? CODES.slowConsumer, "the application takes no events");
  }

  /** Leaves by closing the connection at once, without waiting for an answer. */
  close(): void {
    this._close(CODES.leaving, "", CODES.left, "closed by this client");
  }

  _close(sent: number, sentText: string, code: number, text: string): void {
    if (!this.isClosed()) {
      this._outputs.push({ kind: "close", code: sent, text: sentText });
      this._steps.push({ kind: "closed", code, text });
      this._endSession({ kind: "closed" });
    }
  }

  /** Drops the streams, and keeps how far the events were handed on. */
  _endSession(next: Phase): void {
    this._lastSequences = this.lastSequences();
    this._phase = next;
    this._streams = undefined;
  }

  /** Leaves: what was written before still arrives. The step "closed" follows within 1 s. */
  leave(now: number): void {
    if (this.isRunning() && this._streams) {
      this._streams.outgoing.leave(encodeMessage(Leave, { code: CODES.left }));
      this._phase = { kind: "leaving", until: now + LEAVE_MS };
    } else if (!this.isLeaving()) {
      this.close();
    }
  }

  /** Tries at once, if the client waits for its next try: the network may be back. */
  tryNow(now: number): void {
    if (this._phase.kind === "pausing") {
      this._phase.until = now;
    }
  }

  /** Gives a client that comes back more time, because the program stood still for so many ms. */
  extend(ms: number): void {
    this._tries.extend(ms);
    if (this._phase.kind === "joining") {
      this._phase.deadline += ms;
      this._phase.until += ms;
    }
  }

  /** Returns whether the time to come back after a loss is over. */
  isReturnOver(now: number): boolean {
    return this._tries.deadline() <= now;
  }

  /** Returns whether there is a session, and no leave of it. */
  isRunning(): boolean {
    return this._phase.kind === "running";
  }

  /** Returns whether the client has said that it leaves, and waits for the close. */
  isLeaving(): boolean {
    return this._phase.kind === "leaving";
  }

  /** Returns whether the session is closed for good. */
  isClosed(): boolean {
    return this._phase.kind === "closed";
  }

  /** Returns whether a message of this schema may travel in this session. */
  allows(schema: Schema): boolean {
    return (schema.feature & ~(this._streams?.incoming.features ?? 0)) === 0;
  }

  /** Sets the version of the roster. Events that waited for it are handed on. */
  setRosterVersion(version: number): void {
    if (this._streams) {
      this._streams.incoming.rosterVersion = version;
    }
  }

  /**
   * Returns the largest sequence of an event that was handed on in this session or those that it
   * resumes, by lane. Without a session, those of the newest one.
   */
  lastSequences(): [bigint, bigint] {
    const hasSession = this.isRunning() || this.isLeaving();
    return [...((hasSession && this._streams?.incoming.lastSequences) || this._lastSequences)];
  }

  /** Returns whether few enough messages wait for the control stream. */
  canSend(): boolean {
    return this.isRunning() && (this._streams?.outgoing.canPushControl() ?? false);
  }

  /** Sends a message on the control stream, after all earlier ones, see {@link canSend}. */
  send(message: Uint8Array): void {
    if (this.isRunning()) {
      this._streams?.outgoing.pushControl(message);
    }
  }

  /** Keeps the session alive, for a client without datagrams. */
  ping(): void {
    if (this.canSend()) {
      this.send(encodeMessage(Ping, {}));
    }
  }

  /** Returns whether a message may be written to a lane now. */
  canWrite(lane: Lane): boolean {
    return this.isRunning() && (this._streams?.outgoing.canWrite(lane) ?? false);
  }

  /** Writes a message to a lane. The step "written" follows. */
  write(lane: Lane, message: Uint8Array): void {
    this._streams?.outgoing.write(lane, message);
  }

  /** Handles the end of a connection. */
  _closed(now: number, end: ConnectionEnd): void {
    // The answer may have come together with the end.
    this._readAnswer(now);
    if (this._phase.kind === "joining" && this._phase.attempt === "opening") {
      this._attemptFailed(now, joinErrorOf(end));
    } else if (this._streams) {
      this._streams.end = end;
    }
  }

  /** Handles a stream that the server has ended without closing the connection in time. */
  _streamEnded(now: number): void {
    const { code, text } = reasonOf(
      this._streams?.end ?? {
        kind: "lost",
        text: "the server ended a stream without closing the session",
      },
    );
    // To the server, a close with code 0 is a lost session, so the client can resume.
    this._outputs.push({ kind: "close", code: CODES.left, text });
    this._lost(now, code, text);
  }

  /** Handles the end of a session. */
  _lost(now: number, code: number | undefined, text: string): void {
    const isLeaving = this.isLeaving();
    this._endSession({ kind: "closed" });
    if (isLeaving || !mayReconnect(code) || this._patienceMs <= 0) {
      this._steps.push({ kind: "closed", code, text });
      return;
    }
    this._tries.beginReturn(now, this._patienceMs, this._noAnswer());
    this._steps.push({ kind: "lost", code, text });
    this._nextTry(now);
  }
}
