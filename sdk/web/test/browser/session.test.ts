// Sessions in Chromium, over WebTransport, with a real server: the program that NUCLEUS names.

import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { type Browser, chromium, type Page } from "playwright-core";

import type * as Nucleus from "../../src/index.js";

const BUILD = fileURLToPath(new URL("../..", import.meta.url));
/** The example page. */
const HELLO = "/examples/hello.html";
const CHROMIUM = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
const NUCLEUS = process.env["NUCLEUS"] ?? "nucleus";

/** What the pages of this test keep. */
interface Kept {
  nucleus: typeof Nucleus;
  room: Nucleus.Room;
  seen: Nucleus.RoomEvent[];
  token: string;
  asked: number;
}
declare const kept: Kept;

let files: Server;
let browser: Browser;
let data: string;
let nucleus: ChildProcess | undefined;
let address: string;

before(async () => {
  files = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    const isPage = pathname === "/" || pathname === HELLO;
    response.setHeader("content-type", isPage ? "text/html" : "text/javascript");
    if (pathname === "/") {
      response.end("<!doctype html><title>session</title>");
      return;
    } else if (pathname === HELLO) {
      void readFile(`${BUILD}/..${HELLO}`).then((page) => response.end(page));
      return;
    } else if (pathname === "/dist/nucleus-client.js") {
      response.writeHead(302, { location: "/src/index.js" }).end();
      return;
    }
    readFile(BUILD + pathname).then(
      (text) => response.end(text),
      () => response.writeHead(404).end(),
    );
  });
  await new Promise<void>((resolve) => files.listen(0, "127.0.0.1", resolve));
  data = mkdtempSync(join(tmpdir(), "nucleus-web-"));
  address = await startServer(data, "127.0.0.1:0");
  browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: [
      "--headless=new",
      "--no-sandbox",
      "--disable-gpu",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
});

after(async () => {
  await browser.close();
  await stopServer();
  files.close();
  rmSync(data, { recursive: true });
});

/** Starts the server, and returns the address of its session plane. */
async function startServer(folder: string, session: string): Promise<string> {
  const any = "127.0.0.1:0";
  const ports = ["--session", session, "--realtime", any, "--http", any];
  const more = ["--data-dir", folder, "--log-format", "json"];
  nucleus = spawn(NUCLEUS, [...ports, ...more], { stdio: ["ignore", "ignore", "pipe"] });
  const lines = createInterface({ input: nucleus.stderr! }); // It is a pipe.
  for await (const line of lines) {
    const found = /"session":"([^"]+)"/.exec(line);
    if (found?.[1]) {
      nucleus.stderr?.resume();
      return found[1];
    }
  }
  throw new Error("the server does not start");
}

async function stopServer(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
  const stopped = nucleus;
  nucleus = undefined;
  if (stopped && stopped.exitCode === null) {
    stopped.kill(signal);
    await new Promise((resolve) => stopped.once("exit", resolve));
  }
}

function tokenOf(user: string, folder = data, role = "host"): string {
  const claims = ["--product", "atom", "--tenant", "demo", "--user", user, "--role", role];
  return execFileSync(NUCLEUS, ["token", ...claims, "--data-dir", folder])
    .toString()
    .trim();
}

/** Opens a page that has joined a room. */
async function joined(user: string, room: string, token = tokenOf(user)): Promise<Page> {
  const page = await browser.newPage();
  const { port } = files.address() as AddressInfo;
  await page.goto(`http://localhost:${port}/`);
  await join_(page, room, token);
  return page;
}

async function join_(page: Page, room: string, token: string, ticket?: string): Promise<void> {
  await page.evaluate(
    async ({ server, room, token, ticket }) => {
      const path = "/src/index.js";
      const nucleus = (await import(path)) as typeof Nucleus;
      const all: Partial<Kept> = { nucleus, seen: [], token, asked: 0 };
      Object.assign(globalThis, { kept: all });
      const provider = () => {
        kept.asked += 1;
        return kept.token;
      };
      kept.room = await nucleus.connect({ server, room, token: provider, ticket });
      void (async () => {
        for await (const event of kept.room) {
          kept.seen.push(event);
        }
      })();
    },
    { server: address, room, token, ticket },
  );
}

/** Waits until a page has seen an event of this kind, and returns it. */
async function sees<K extends Nucleus.RoomEvent["kind"]>(page: Page, kind: K) {
  const handle = await page.waitForFunction(
    (kind) => {
      const at = kept.seen.findIndex((event) => event.kind === kind);
      return at >= 0 && kept.seen.splice(at, 1)[0];
    },
    kind,
    { timeout: 30_000 },
  );
  return (await handle.jsonValue()) as Extract<Nucleus.RoomEvent, { kind: K }>;
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(new Uint8Array(Object.values(bytes)));

test("two pages meet: events, bulk, requests, state, poses and voice", async () => {
  const a = await joined("ada", "meet");
  const b = await joined("ben", "meet");
  assert.equal((await sees(a, "peerJoined")).peer.user, "ben");
  await a.evaluate(async () => {
    const { room, nucleus } = kept;
    const bytes = (text: string) => new TextEncoder().encode(text);
    await room.sendEvent("others", 7, bytes("hello"));
    await room.sendBulk("others", 8, new Uint8Array(60_000).fill(5));
    await room.sendTypedEvent("others", "door.opened", bytes("left"));
    await room.change(new nucleus.Batch().set("room", "topic", "drill"));
    setInterval(() => {
      const head = { position: [1, 1.6, 2], rotation: [0, 0, 0, 1] } as const;
      room.sendPose({ head: { position: [...head.position], rotation: [...head.rotation] } });
      room.sendVoice({ level: 20, speaking: true, opus: new Uint8Array(40) });
    }, 20);
  });
  assert.equal(text((await sees(b, "event")).payload), "hello");
  assert.equal(text((await sees(b, "typedEvent")).payload), "left");
  assert.equal(Object.keys((await sees(b, "bulk")).payload).length, 60_000);
  const pose = await sees(b, "pose");
  assert.deepEqual(pose.pose.head.position, [1, 1.6, 2]);
  assert.equal((await sees(b, "speaking")).speaking, true);
  await b.waitForFunction(() => kept.room.field("room", "topic")?.value === "drill");
  await b.waitForFunction(() => kept.room.shownPoses().length > 0);
  await b.waitForFunction(() => kept.room.connection().roundTrip !== undefined);
  const answer = await a.evaluate(
    async () => {
      const [peer] = kept.room.peers();
      const answer = kept.room.rpc(peer!.id, "cup.grab", new Uint8Array([1])); // Ben is there.
      return answer.then((bytes) => bytes[0], String);
    },
    (await answerOne(b), undefined),
  );
  assert.equal(answer, 9);
  await a.evaluate(() => kept.room.leave());
  assert.equal((await sees(a, "closed")).code, "left");
  assert.equal((await sees(b, "peerLeft")).code, "left");
  await a.close();
  await b.close();
});

/** Lets a page answer the next request. */
async function answerOne(page: Page): Promise<void> {
  await page.evaluate(() => {
    const timer = setInterval(() => {
      const request = kept.seen.find((event) => event.kind === "rpcRequest");
      if (request?.kind === "rpcRequest") {
        clearInterval(timer);
        kept.room.answerRpc(request.id, new Uint8Array([9]));
      }
    }, 10);
  });
}

test("a page that is loaded again comes back as the same peer", async () => {
  const a = await joined("ada", "again");
  const b = await joined("ben", "again");
  const { me, ticket } = await a.evaluate(() => {
    return { me: kept.room.me, ticket: kept.room.ticket() };
  });
  await a.reload();
  await b.evaluate(() => kept.room.sendEvent("others", 1, new Uint8Array([65])));
  await join_(a, "again", tokenOf("ada"), ticket);
  assert.equal((await sees(a, "resumed")).missedEvents, false);
  assert.equal(await a.evaluate(() => kept.room.me), me);
  assert.equal(text((await sees(a, "event")).payload), "A", "sent while the page was away");
  await a.close();
  await b.close();
});

test("the example page joins at the server that its address names", async () => {
  const { port } = files.address() as AddressInfo;
  const token = tokenOf("ada");
  const [a, b] = [await browser.newPage(), await browser.newPage()];
  await a.goto(`http://localhost:${port}${HELLO}?server=${address}#${token}`);
  await a.waitForFunction(() => document.body.innerText.includes('In the room "demo"'));
  assert.equal(await a.innerText("#server"), address);
  await b.goto(`http://localhost:${port}${HELLO}?server=no+server#${token}`);
  await b.waitForFunction(() => document.body.innerText.includes('"no server" is no address'));
  await a.close();
  await b.close();
});

test("a peer that is kicked learns it, and a wrong certificate is refused", async () => {
  const a = await joined("ada", "kick");
  const b = await joined("ben", "kick");
  await sees(a, "peerJoined");
  await a.evaluate(() => kept.room.kick(kept.room.peers()[0]!.id)); // Ben is there.
  assert.equal((await sees(b, "closed")).code, "kicked");
  const error = await b.evaluate(async (server) => {
    const pins = [new Uint8Array(32)];
    const joining = kept.nucleus.connect({ server, room: "kick", token: kept.token, pins });
    return joining.then(
      () => undefined,
      (error: Nucleus.NucleusError) => ({
        code: error.code,
        mayBeCertificate: error.mayBeCertificate,
      }),
    );
  }, address);
  assert.deepEqual(error, { code: "notReachable", mayBeCertificate: true });
  const refused = await b.evaluate(async (server) => {
    const joining = kept.nucleus.connect({ server, mode: "join", room: "none", token: kept.token });
    return joining.then(String, (error: Nucleus.NucleusError) => error.code);
  }, address);
  assert.equal(refused, "noSuchRoom");
  await a.close();
  await b.close();
});

test("an application that takes nothing slows the sender, and loses nothing", async () => {
  const a = await joined("ada", "slow");
  const b = await joined("ben", "slow");
  await sees(a, "peerJoined");
  const count = 300;
  const received = b.evaluate(async (count) => {
    // Nothing is taken for two seconds: `next` of the page waits in a promise of its own.
    const first = kept.seen.length;
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    while (kept.seen.filter((event) => event.kind === "event").length < count) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const events = kept.seen.slice(first).filter((event) => event.kind === "event");
    return events.map((event) => event.kind === "event" && event.payload[0]);
  }, count);
  await a.evaluate(async (count) => {
    for (let n = 0; n < count; n += 1) {
      await kept.room.sendEvent("others", 1, new Uint8Array(1_000).fill(n & 0xff));
    }
  }, count);
  const expected = Array.from({ length: count }, (_, n) => n & 0xff);
  assert.deepEqual(await received, expected);
  await a.close();
  await b.close();
});

test("a restart of the server heals by itself, also with another certificate", async () => {
  const a = await joined("ada", "restart");
  await stopServer("SIGKILL");
  assert.equal((await sees(a, "interrupted")).code, undefined);
  const other = mkdtempSync(join(tmpdir(), "nucleus-web-"));
  await startServer(other, address);
  // The backend gives tokens of the new server; the page has only the old pins until it asks.
  const token = tokenOf("ada", other);
  await a.evaluate((token) => {
    kept.token = token;
  }, token);
  await sees(a, "rejoined");
  assert.ok((await a.evaluate(() => kept.asked)) >= 2, "the page has asked for a token");
  await a.close();
  rmSync(other, { recursive: true });
});
