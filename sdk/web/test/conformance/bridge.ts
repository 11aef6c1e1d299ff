// A carrier for Node: QUIC connections by the program bridge.py.

import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import {
  type Carrier,
  type Connection,
  type ConnectionEnd,
  type ControlStream,
  DialError,
  type ReceiveStream,
  type SendStream,
  StreamError,
} from "../../src/carrier/carrier.js";
import { Pipe } from "../carrier/pipe.js";

const SCRIPT = fileURLToPath(new URL("../../../test/conformance/bridge.py", import.meta.url));
/** Most bytes of a datagram that fits a packet of 1,200 bytes. */
const MAX_DATAGRAM = 1_154;

interface BridgeEvent {
  event: string;
  id: number;
  stream?: number;
  data?: string;
  number?: number | null;
  text?: string;
}

/** Makes connections by the bridge. */
export class BridgeCarrier implements Carrier {
  readonly #bridge: ChildProcess;
  readonly #connections = new Map<number, BridgeConnection>();
  #next = 1;

  constructor(python = process.env["PYTHON"] ?? "python3") {
    this.#bridge = spawn(python, [SCRIPT], { stdio: ["pipe", "pipe", "inherit"] });
    const lines = createInterface({ input: this.#bridge.stdout! }); // It is a pipe.
    lines.on("line", (line) => {
      const event = JSON.parse(line) as BridgeEvent;
      this.#connections.get(event.id)?.handle(event);
    });
  }

  dial(server: string, pins: readonly Uint8Array[], signal: AbortSignal): Promise<Connection> {
    const id = this.#next++;
    const tell = (command: string, fields: object) => {
      this.#bridge.stdin?.write(`${JSON.stringify({ command, id, ...fields })}\n`);
    };
    const connection = new BridgeConnection(tell);
    this.#connections.set(id, connection);
    signal.addEventListener("abort", () => connection.close(0, ""));
    tell("dial", { server, pins: pins.map((pin) => Buffer.from(pin).toString("hex")) });
    return connection.opened;
  }

  /** Ends the bridge. */
  stop(): void {
    this.#bridge.stdin?.end();
  }
}

type Tell = (command: string, fields: object) => void;

class BridgeConnection implements Connection {
  readonly maxDatagramSize = MAX_DATAGRAM;
  readonly opened: Promise<Connection>;
  readonly closed: Promise<ConnectionEnd>;
  readonly #tell: Tell;
  readonly #streams = new Map<number, Pipe>();
  readonly #accepted = new Pipe<ReceiveStream>();
  readonly #datagrams = new Pipe();
  readonly #finishing = new Map<number, () => void>();
  readonly #stopped = new Set<number>();
  #nextStream = 2;
  #open: (connection: Connection) => void = () => {};
  #fail: (error: Error) => void = () => {};
  #end: (end: ConnectionEnd) => void = () => {};

  constructor(tell: Tell) {
    this.#tell = tell;
    this.opened = new Promise((resolve, reject) => {
      this.#open = resolve;
      this.#fail = reject;
    });
    this.closed = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  handle({ event, stream = 0, data = "", number, text = "" }: BridgeEvent): void {
    const bytes = new Uint8Array(Buffer.from(data, "base64"));
    switch (event) {
      case "connected":
        return this.#open(this);
      case "failed":
        return this.#fail(new DialError(text, true));
      case "data":
        return this.#stream(stream).push(bytes);
      case "end":
        return this.#stream(stream).end();
      case "reset":
        return this.#stream(stream).fail(new StreamError("reset", false));
      case "stopped":
        this.#stopped.add(stream);
        return;
      case "finished":
        return this.#finishing.get(stream)?.();
      case "datagram":
        return this.#datagrams.push(bytes);
      case "closed":
        return this.#close(
          typeof number === "number"
            ? { kind: "byServer", number, text }
            : { kind: "lost", text: text || "timed out" },
        );
    }
  }

  /** Returns the bytes of a stream. A stream that is not known was opened by the server. */
  #stream(number: number): Pipe {
    const known = this.#streams.get(number);
    const pipe = known ?? new Pipe();
    if (!known) {
      this.#streams.set(number, pipe);
      this.#accepted.push(this.#receiveStream(number, pipe));
    }
    return pipe;
  }

  #close(end: ConnectionEnd): void {
    this.#fail(new DialError("closed", false));
    this.#end(end);
    this.#accepted.end();
    this.#datagrams.end();
    this.#streams.forEach((pipe) => pipe.fail(new StreamError("the connection ended", false)));
    this.#finishing.forEach((done) => done());
  }

  #receiveStream(stream: number, pipe: Pipe): ReceiveStream {
    return {
      read: () => pipe.read(),
      stop: (code) => this.#tell("stop", { stream, code }),
    };
  }

  #sendStream(stream: number): SendStream {
    const check = () => {
      if (this.#stopped.has(stream)) {
        throw new StreamError("stopped", true);
      }
    };
    return {
      write: async (bytes) => {
        check();
        this.#tell("write", { stream, data: Buffer.from(bytes).toString("base64") });
      },
      finish: async () => {
        check();
        const done = new Promise<void>((resolve) => this.#finishing.set(stream, resolve));
        this.#tell("finish", { stream });
        await done;
      },
    };
  }

  async openControl(): Promise<ControlStream> {
    const pipe = new Pipe();
    this.#streams.set(0, pipe);
    return { send: this.#sendStream(0), receive: this.#receiveStream(0, pipe) };
  }

  async openStream(): Promise<SendStream> {
    const stream = this.#nextStream;
    this.#nextStream += 4;
    return this.#sendStream(stream);
  }

  accept(): Promise<ReceiveStream | undefined> {
    return this.#accepted.read();
  }

  receiveDatagram(): Promise<Uint8Array | undefined> {
    return this.#datagrams.read();
  }

  sendDatagram(bytes: Uint8Array): void {
    this.#tell("datagram", { data: Buffer.from(bytes).toString("base64") });
  }

  close(code: number, text: string): void {
    this.#tell("close", { code, text });
    this.#close({ kind: "byClient" });
  }
}
