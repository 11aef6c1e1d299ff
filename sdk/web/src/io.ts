/** `ConnectionIo`: reads and writes the streams of a connection for a client. */

import {
  type Connection,
  type ControlStream,
  type ReceiveStream,
  type SendStream,
  StreamError,
} from "./carrier/carrier.js";
import { CODES } from "./wire/code.js";
import type { ClientSession } from "./session/client-session.js";
import type { StreamSource } from "./session/incoming.js";
import { priorityOf, type StreamAction, type StreamTarget } from "./session/outgoing.js";
import { mayReturnAfter } from "./session/reconnect.js";
import type { SessionInput } from "./session/step.js";

/**
 * Longest time in ms that the streams of a connection that has ended are read. What has arrived is
 * there at once; a carrier that says nothing more must not hold up the client.
 */
const DRAIN_MS = 500;

/** What a `ConnectionIo` needs of its driver. */
export interface IoOwner {
  readonly session: ClientSession;
  /** Passes an input of this connection to the client. */
  input(input: SessionInput): void;
  /** Passes a datagram to the client. */
  datagram(bytes: Uint8Array): void;
  /** Waits until `check` returns true, which is asked again after each change of the client. */
  until(check: () => boolean): Promise<void>;
  /** Waits so many ms. */
  sleep(ms: number): Promise<void>;
  /** Returns whether this connection is still the client's. */
  isCurrent(io: ConnectionIo): boolean;
  /** Forgets this connection. */
  drop(io: ConnectionIo): void;
}

/** The streams of a connection. */
export class ConnectionIo {
  readonly connection: Connection;
  _owner: IoOwner;
  _readers = new Map<StreamSource, ReceiveStream>();
  _writers = new Map<StreamTarget, SendStream>();
  _nextStream = 0;

  constructor(owner: IoOwner, connection: Connection, { send, receive }: ControlStream) {
    this._owner = owner;
    this.connection = connection;
    this._writers.set("control", send);
    this._readers.set("control", receive);
  }

  /** Begins to read. */
  start(): void {
    void this._read("control");
    void this._accept();
    void this._receiveDatagrams();
    void this._watch();
  }

  get _isCurrent(): boolean {
    return this._owner.isCurrent(this);
  }

  /** Waits until the client wants something of this connection. Returns whether it still does. */
  async _wanted(wants: () => boolean): Promise<boolean> {
    await this._owner.until(() => !this._isCurrent || wants());
    return this._isCurrent && wants();
  }

  async _read(source: StreamSource): Promise<void> {
    const stream = this._readers.get(source);
    const isOver = () => !this._readers.has(source);
    const wants = () => isOver() || this._owner.session.wants(source);
    while (stream && (await this._wanted(wants)) && !isOver()) {
      let bytes: Uint8Array | undefined;
      let isBroken = false;
      try {
        bytes = await stream.read();
      } catch {
        isBroken = true;
      }
      if (!this._isCurrent || isOver()) {
        return;
      }
      if (!bytes) {
        this._readers.delete(source);
        return this._owner.input({ kind: "streamEnded", source, isBroken });
      }
      this._owner.input({ kind: "bytes", source, bytes });
    }
  }

  async _accept(): Promise<void> {
    while (await this._wanted(() => this._owner.session.wantsStream())) {
      const stream = await this.connection.accept();
      if (!stream || !this._isCurrent) {
        return;
      }
      const number = this._nextStream++;
      this._readers.set(number, stream);
      this._owner.input({ kind: "streamOpened", number });
      void this._read(number);
    }
  }

  async _receiveDatagrams(): Promise<void> {
    for (;;) {
      const bytes = await this.connection.receiveDatagram();
      if (!bytes || !this._isCurrent) {
        return;
      }
      this._owner.datagram(bytes);
    }
  }

  /** Waits for the end of the connection, and reads what has arrived before. */
  async _watch(): Promise<void> {
    const end = await this.connection.closed;
    if (!this._isCurrent) {
      return;
    }
    this._owner.input({ kind: "ending", isFinal: !mayReturnAfter(end) });
    const wants = (source: StreamSource) => this._owner.session.wants(source);
    const drained = this._owner.until(
      () => !this._isCurrent || ![...this._readers.keys()].some(wants),
    );
    await Promise.race([drained, this._owner.sleep(DRAIN_MS)]);
    if (this._isCurrent) {
      this._owner.drop(this);
      this._owner.input({ kind: "closed", end });
    }
  }

  /** Stops a stream that the server has opened, so that the server knows that it is not read. */
  refuse(number: number): void {
    this._readers.get(number)?.stop(CODES.malformed);
    this._readers.delete(number);
  }

  /** Carries out an action of the client. */
  async act({ target, bytes }: StreamAction): Promise<void> {
    const input = await this._write(target, bytes);
    if (input && this._isCurrent) {
      this._owner.input(input);
    }
  }

  async _write(
    target: StreamTarget,
    bytes: Uint8Array | undefined,
  ): Promise<SessionInput | undefined> {
    try {
      let stream = this._writers.get(target);
      if (!stream) {
        stream = await this.connection.openStream(target === "control" ? 0 : priorityOf(target));
        this._writers.set(target, stream);
      }
      if (bytes) {
        await stream.write(bytes);
        return { kind: "written", target };
      }
    } catch (error) {
      // The connection's end says why, if the server has not stopped the stream.
      const isStop = error instanceof StreamError && error.isStop;
      return isStop ? { kind: "stopped", target } : undefined;
    }
    await this._writers
      .get(target)
      ?.finish()
      .catch(() => {});
    return { kind: "finished", target };
  }
}
