/**
 * The carrier of browsers: WebTransport over HTTP/3.
 *
 * The page needs a secure context (https, or localhost). A Content-Security-Policy must allow
 * `https://HOST:PORT` of the server in `connect-src`; some browsers refuse pinned certificates
 * under a strict `connect-src`.
 */

import {
  type Carrier,
  type Connection,
  type ConnectionEnd,
  type ControlStream,
  DialError,
  type ReceiveStream,
  type SendStream,
  StreamError,
} from "./carrier.js";

/** Path of the extended CONNECT, see "Other carriers" of the protocol. */
const PATH = "/nucleus";
/** Datagrams older than this are not worth sending, in ms. */
const DATAGRAM_AGE_MS = 200;
/** Most datagrams that may wait to be sent: more would only be late. */
const MAX_UNSENT_DATAGRAMS = 64;
/**
 * Most datagrams that wait while the page is busy: those of a tenth of a second in a full room. The
 * rules of ages and sequences drop what is late.
 */
const MAX_UNREAD_DATAGRAMS = 256;
/** Most bytes of a close's text that WebTransport carries. */
const MAX_REASON = 1_024;

/** Makes connections by WebTransport. */
export class WebTransportCarrier implements Carrier {
  async dial(
    server: string,
    pins: readonly Uint8Array[],
    signal: AbortSignal,
  ): Promise<Connection> {
    if (typeof WebTransport === "undefined") {
      // A page in a worker or a frame has the property, too.
      const isSecure = globalThis.isSecureContext !== false;
      const text = isSecure
        ? "this browser has no WebTransport"
        : "the page must come over HTTPS or from localhost, else the browser offers no WebTransport";
      throw new DialError(text, false);
    }
    let transport: WebTransport;
    try {
      transport = new WebTransport(`https://${server}${PATH}`, optionsOf(pins));
    } catch (error) {
      throw new DialError(textOf(error), false);
    }
    // Its rejection is read below, and by the connection.
    transport.closed.catch(() => {});
    const close = () => transport.close();
    signal.addEventListener("abort", close);
    try {
      await transport.ready;
      signal.throwIfAborted();
    } catch (error) {
      throw new DialError(textOf(error), pins.length > 0);
    } finally {
      signal.removeEventListener("abort", close);
    }
    return new WebTransportConnection(transport);
  }
}

function optionsOf(pins: readonly Uint8Array[]): WebTransportOptions {
  const options: WebTransportOptions = {
    allowPooling: false,
    congestionControl: "low-latency",
  };
  if (pins.length > 0) {
    options.serverCertificateHashes = pins.map((value) => ({
      algorithm: "sha-256",
      value: value as Uint8Array<ArrayBuffer>,
    }));
  }
  return options;
}

class WebTransportConnection implements Connection {
  readonly closed: Promise<ConnectionEnd>;
  _transport: WebTransport;
  _datagrams: ReadableStreamDefaultReader<Uint8Array>;
  _streams: ReadableStreamDefaultReader<ReadableStream<Uint8Array>>;
  _datagramWriter: WritableStreamDefaultWriter<Uint8Array> | undefined;
  _unsent = 0;
  _isClosedHere = false;

  constructor(transport: WebTransport) {
    this._transport = transport;
    this._datagrams = transport.datagrams.readable.getReader();
    this._streams = transport.incomingUnidirectionalStreams.getReader();
    this._datagramWriter = datagramWriter(transport.datagrams);
    this.closed = transport.closed.then(
      (info) => this._end(info.closeCode ?? 0, info.reason ?? ""),
      (error: unknown) => lost(error),
    );
  }

  get maxDatagramSize(): number {
    return this._datagramWriter ? this._transport.datagrams.maxDatagramSize : 0;
  }

  /** A session without a code looks like one with code 0 and no text: both are lost. */
  _end(number: number, text: string): ConnectionEnd {
    if (this._isClosedHere) {
      return { kind: "byClient" };
    }
    if (number === 0 && text === "") {
      return lost("the session ended without a code");
    }
    return { kind: "byServer", number, text };
  }

  async openControl(): Promise<ControlStream> {
    const stream = await this._transport.createBidirectionalStream();
    return { send: sendStream(stream.writable), receive: receiveStream(stream.readable) };
  }

  async openStream(priority: number): Promise<SendStream> {
    return sendStream(await this._transport.createUnidirectionalStream({ sendOrder: priority }));
  }

  async accept(): Promise<ReceiveStream | undefined> {
    const next = await this._streams.read().catch(() => undefined);
    return next?.value && receiveStream(next.value);
  }

  async receiveDatagram(): Promise<Uint8Array | undefined> {
    const next = await this._datagrams.read().catch(() => undefined);
    return next?.value;
  }

  sendDatagram(bytes: Uint8Array): void {
    if (!this._datagramWriter || this._unsent >= MAX_UNSENT_DATAGRAMS) {
      return;
    }
    this._unsent += 1;
    const done = () => {
      this._unsent -= 1;
    };
    this._datagramWriter.write(bytes).then(done, done);
  }

  close(code: number, text: string): void {
    this._isClosedHere = true;
    try {
      this._transport.close({ closeCode: code, reason: text.slice(0, MAX_REASON / 4) });
    } catch {
      // The session has ended already.
    }
  }
}

/** Returns the writer of datagrams: by the newer method, or the older attribute. */
function datagramWriter(
  datagrams: WebTransportDatagramDuplexStream,
): WritableStreamDefaultWriter<Uint8Array> | undefined {
  try {
    const newer = datagrams as WebTransportDatagramDuplexStream & {
      createWritable?: () => WritableStream<Uint8Array>;
    };
    datagrams.outgoingMaxAge = DATAGRAM_AGE_MS;
    datagrams.incomingHighWaterMark = MAX_UNREAD_DATAGRAMS;
    const writable = newer.createWritable?.() ?? datagrams.writable;
    const writer = writable.getWriter();
    writer.closed.catch(() => {});
    return writer;
  } catch {
    return undefined;
  }
}

function sendStream(stream: WritableStream<Uint8Array>): SendStream {
  const writer = stream.getWriter();
  writer.closed.catch(() => {});
  return {
    write: (bytes) => writer.write(bytes).catch(rethrow),
    finish: () => writer.close().catch(rethrow),
  };
}

function receiveStream(stream: ReadableStream<Uint8Array>): ReceiveStream {
  const reader = stream.getReader();
  return {
    read: async () => (await reader.read().catch(rethrow)).value,
    stop: (code) => void reader.cancel(errorWith(code)).catch(() => {}),
  };
}

/**
 * Returns the reason of a stop, from which browsers take the code. The constructor has had two
 * forms: the older one, of Chromium 156, throws for the arguments of the newer one.
 */
function errorWith(streamErrorCode: number): unknown {
  const message = "stopped";
  try {
    return new WebTransportError(message, { source: "stream", streamErrorCode });
  } catch {
    return olderErrorWith({ message, streamErrorCode });
  }
}

function olderErrorWith(init: { message: string; streamErrorCode: number }): unknown {
  try {
    const Older = WebTransportError as unknown as new (given: typeof init) => WebTransportError;
    return new Older(init);
  } catch {
    return undefined;
  }
}

function rethrow(error: unknown): never {
  const isStream =
    typeof WebTransportError !== "undefined" &&
    error instanceof WebTransportError &&
    error.source === "stream";
  throw new StreamError(textOf(error), isStream);
}

function lost(error: unknown): ConnectionEnd {
  return { kind: "lost", text: textOf(error) };
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
