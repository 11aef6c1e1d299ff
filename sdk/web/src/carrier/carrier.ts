/**
 * What a session needs of the network. A carrier moves the bytes of sessions: WebTransport does in
 * browsers, and tests have doubles of their own.
 */

/** How a connection has ended. */
export type ConnectionEnd =
  /** The server closed the connection with a number of its own. */
  | { kind: "byServer"; number: number; text: string }
  /** This client closed the connection. */
  | { kind: "byClient" }
  /** The connection was lost, or its end has no number. */
  | { kind: "lost"; text: string };

/** The server reads a stream no longer, or has broken it off. */
export class StreamError extends Error {
  /** Whether the server has asked to stop the stream on which the client writes. */
  readonly isStop: boolean;

  constructor(message: string, isStop: boolean) {
    super(message);
    this.isStop = isStop;
  }
}

/** There is no connection. */
export class DialError extends Error {
  /**
   * Whether a certificate that is not trusted may be the reason. Browsers do not tell it from a
   * server that does not answer.
   */
  readonly mayBeCertificate: boolean;

  constructor(message: string, mayBeCertificate: boolean) {
    super(message);
    this.mayBeCertificate = mayBeCertificate;
  }
}

/** A stream on which the client writes. */
export interface SendStream {
  /**
   * Writes bytes. Resolves when the carrier can take more, so that a slow server slows the writer.
   * Rejects with a {@link StreamError} if the server stops the stream.
   */
  write(bytes: Uint8Array): Promise<void>;
  /** Ends the stream. Resolves when the server has everything, as far as the carrier can tell. */
  finish(): Promise<void>;
}

/** A stream on which the server writes. */
export interface ReceiveStream {
  /**
   * Returns the next bytes; `undefined` at the end. Rejects if the stream has broken, so that bytes
   * may be missing. Nothing is read ahead without limit: the server waits while nobody reads.
   */
  read(): Promise<Uint8Array | undefined>;
  /** Tells the server that the stream is not read. */
  stop(code: number): void;
}

/** The control stream, in both directions. */
export interface ControlStream {
  send: SendStream;
  receive: ReceiveStream;
}

/** A connection to a server. */
export interface Connection {
  /** Most bytes of a datagram; 0: the connection carries none. */
  readonly maxDatagramSize: number;
  /** Resolves when the connection has ended. Never rejects. */
  readonly closed: Promise<ConnectionEnd>;
  /** Opens the control stream. */
  openControl(): Promise<ControlStream>;
  /** Opens a stream from the client. `priority` below 0 sends after the others. */
  openStream(priority: number): Promise<SendStream>;
  /** Waits for the next stream of the server; `undefined`: there will be none. */
  accept(): Promise<ReceiveStream | undefined>;
  /** Waits for the next datagram; `undefined`: there will be none. */
  receiveDatagram(): Promise<Uint8Array | undefined>;
  /** Sends a datagram, or drops it if the network is slower than the application. */
  sendDatagram(bytes: Uint8Array): void;
  /** Closes the connection. */
  close(code: number, text: string): void;
}

/** Opens connections. */
export interface Carrier {
  /**
   * Connects to a server, `host:port` as a URL has it: the client has checked the text. `pins` are
   * the SHA-256 digests of the certificates that are trusted; without any, the system's roots
   * decide. An abort of `signal` gives up.
   *
   * Rejects with a {@link DialError}.
   */
  dial(server: string, pins: readonly Uint8Array[], signal: AbortSignal): Promise<Connection>;
}
