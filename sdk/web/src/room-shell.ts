/** What a `Room` is made of: the client, the realtime plane, and what drives both. */

import { type DriverOptions, SessionDriver } from "./driver.js";
import { RealtimePlane } from "./realtime/plane.js";
import type { SentSequences } from "./realtime/sent.js";
import type { RoomClient } from "./room/client.js";
import type { RoomOutput } from "./room/core.js";
import type { RequestResult } from "./room/requests.js";
import { MAX_OUTGOING } from "./rpc/outgoing.js";
import { NucleusError } from "./session/error.js";
import { WaitingLine } from "./waiting.js";
import { BULK, EVENTS } from "./wire/messaging.js";

/** Interval of `Ping` of a session without a realtime plane, in ms. */
const PING_MS = 7_500;

/** The client of a room, its realtime plane, and what drives both. */
export class RoomShell {
  _driver: SessionDriver<RoomOutput, RoomClient>;
  _client: RoomClient;
  _plane: RealtimePlane;
  _isSelfMuted = false;
  /** Whether the application has taken the event "closed". */
  _isOver = false;
  /** Whether the session has a realtime plane. */
  _hasPlane = false;
  _pingAt = Infinity;
  _isFlushing = false;
  /** Realtime messages that were dropped before they came to the realtime plane. */
  _unsent = 0;
  /** Requests to peers that have begun, and whose callers do not have the result. */
  _rpcs = 0;
  /** Those who wait for capacity: of each lane, for requests to the server, and to peers. */
  _eventLine = new WaitingLine(() => this._client.isReady(EVENTS));
  _bulkLine = new WaitingLine(() => this._client.isReady(BULK));
  _requestLine = new WaitingLine(() => !this._client.hasTooManyRequests());
  _rpcLine = new WaitingLine(() => this._rpcs < MAX_OUTGOING || this.isClosed);
  _lines = [this._eventLine, this._bulkLine, this._requestLine, this._rpcLine];

  /** @internal */
  constructor(client: RoomClient, options: DriverOptions, sent: SentSequences | undefined) {
    this._client = client;
    this._plane = new RealtimePlane(sent);
    this._driver = new SessionDriver<RoomOutput, RoomClient>(client, options, {
      output: (now, output) => this._carryOut(now, output),
      datagram: (now, bytes) => {
        this._plane.datagram(now, bytes);
        this._flush(now);
      },
      serve: (now) => this._lines.filter((line) => line.serve(now)).length > 0,
      handleTimeout: (now) => {
        this._plane.handleTimeout(now);
        this._flush(now);
        this._ping(now);
      },
      deadline: () => Math.min(this._plane.deadline(), this._pingAt),
      woken: (now) => {
        this._plane.networkChanged();
        this._flush(now);
      },
    });
  }

  _carryOut(now: number, output: RoomOutput): void {
    switch (output.kind) {
      case "link":
        this._plane.granted(now, output.link, output.isSameRoom);
        this._hasPlane = output.link.link !== undefined;
        this._pingAt = this._hasPlane ? Infinity : now + PING_MS;
        break;
      case "linkLost":
        this._plane.disconnect();
        this._pingAt = Infinity;
        return;
      case "peerJoined":
        this._plane.addPeer(now, output.slot, output.peer);
        break;
      case "peerLeft":
        this._plane.removePeer(output.slot, output.peer);
        break;
    }
    this._flush(now);
  }

  /** Sends the datagrams that are due. */
  _flush(now: number): void {
    for (let datagram; (datagram = this._plane.takeDatagram(now));) {
      this._driver.sendDatagram(datagram);
    }
  }

  /** Keeps a session without datagrams alive. */
  _ping(now: number): void {
    if (this._pingAt <= now) {
      this._client.session.ping();
      this._pingAt = now + PING_MS;
    }
  }

  /** Whether the room is closed, or this client has left. */
  get isClosed(): boolean {
    return this._client.isClosed;
  }

  /** Begins as soon as a line has capacity. */
  _begin<T>(line: WaitingLine, begin: (now: number) => T, signal?: AbortSignal): Promise<T> {
    return this._driver.run((now) => line.wait(now, begin, signal));
  }

  async _settle(outcome: () => true | NucleusError | undefined): Promise<void> {
    const result = await this._driver.waitFor(outcome);
    if (result !== true) {
      throw result;
    }
  }

  /** Makes a request as soon as fewer than 16 are pending, and waits for its result. */
  async _request(start: (now: number) => number): Promise<bigint> {
    const request = await this._begin(this._requestLine, start);
    const result = await this._driver.waitFor<RequestResult>(() =>
      this._client.takeResult(request),
    );
    return valueOf(result);
  }
}

/** Returns the value of a result. Throws its error. */
export function valueOf<T extends bigint | Uint8Array>(result: T | NucleusError): T {
  if (result instanceof NucleusError) {
    throw result;
  }
  return result;
}
