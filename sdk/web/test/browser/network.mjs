// A network and a clock that a test controls.
import { execFileSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The time of day of the programs that get its {@link env}. It can be moved while they run. */
export class MovedClock {
  #folder = mkdtempSync(join(tmpdir(), "nucleus-clock-"));
  #offset = 0n;
  #control;

  constructor() {
    const library = join(this.#folder, "clock.so");
    const source = fileURLToPath(new URL("clock.c", import.meta.url));
    execFileSync("cc", ["-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"]);
    const file = join(this.#folder, "offset");
    writeFileSync(file, Buffer.alloc(8));
    this.#control = openSync(file, "r+");
    this.env = { LD_PRELOAD: library, NUCLEUS_CLOCK: file };
  }

  /** Moves the clock on by so many seconds. */
  move(seconds) {
    this.#offset += BigInt(seconds);
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(this.#offset);
    writeSync(this.#control, bytes, 0, bytes.length, 0);
  }

  end() {
    closeSync(this.#control);
    rmSync(this.#folder, { recursive: true });
  }
}

/** A path to a server, by UDP, that can be broken. */
export class BreakablePath {
  isBroken = false;
  #front = createSocket("udp4");
  /** The socket towards the server, of each client. */
  #backs = new Map();

  /** Opens a path to `server`, host:port. */
  static async to(server) {
    const path = new BreakablePath();
    const [host, port] = server.split(":");
    path.#front.on("message", (bytes, { address, port: from }) => {
      const back = path.#back(address, from);
      if (!path.isBroken) {
        back.send(bytes, Number(port), host);
      }
    });
    await new Promise((resolve) => path.#front.bind(0, "127.0.0.1", resolve));
    path.address = `127.0.0.1:${path.#front.address().port}`;
    return path;
  }

  #back(address, port) {
    const key = `${address}:${port}`;
    let back = this.#backs.get(key);
    if (!back) {
      back = createSocket("udp4");
      back.on("message", (bytes) => !this.isBroken && this.#front.send(bytes, port, address));
      // A server that has ended is told so; the client notices by itself.
      back.on("error", () => {});
      this.#backs.set(key, back);
    }
    return back;
  }

  end() {
    [this.#front, ...this.#backs.values()].forEach((socket) => socket.close());
  }
}
