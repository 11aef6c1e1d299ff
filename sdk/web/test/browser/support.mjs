// What the programs of this folder share: a server, Chromium, and pages.
import { build } from "esbuild";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

/** Longest time for the server to be ready or to stop, in ms. */
const SERVER_MS = 20_000;

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Starts headless Chromium. `CHROMIUM` names another program than Debian's. */
export function startChromium({ env, args = [] } = {}) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    env: { ...process.env, ...env },
    args: [
      "--headless=new",
      "--no-sandbox",
      "--disable-gpu",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...args,
    ],
  });
}

/** Returns a script for a page, with the SDK as applications get it. */
export async function bundled(entry, globalName) {
  const { outputFiles } = await build({
    absWorkingDir: ROOT,
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: "iife",
    globalName,
    target: "es2022",
    minify: true,
    mangleProps: /^_/,
  });
  return outputFiles[0].text;
}

/** Serves an empty page, and the SDK for it. `more` are further paths, see {@link serveFiles}. */
export async function servePages(more = {}, host = "127.0.0.1") {
  return serveFiles({ "/nucleus.js": await bundled("src/index.ts", "nucleus"), ...more }, host);
}

/** Opens a page with the global `nucleus`. Prints what is wrong in it. */
export async function openPage(browser, url, name) {
  const page = await browser.newPage();
  page.on("pageerror", (error) => process.stderr.write(`${name}: ${error.message}\n`));
  await page.goto(url);
  await page.addScriptTag({ url: "/nucleus.js" });
  return page;
}

/**
 * Serves scripts, by their paths, and functions, which answer a request with JSON. The page itself
 * is empty.
 */
export async function serveFiles(files, host = "127.0.0.1") {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    const file = files[pathname];
    if (pathname === "/") {
      response.setHeader("content-type", "text/html");
      response.end('<!doctype html><title>test</title><link rel="icon" href="data:,">');
    } else if (typeof file === "function") {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(await file()));
    } else if (file === undefined) {
      response.writeHead(404).end();
    } else {
      response.setHeader("content-type", "text/javascript");
      response.end(file);
    }
  });
  await new Promise((resolve) => server.listen(0, host, resolve));
  return { url: `http://${host}:${server.address().port}/`, close: () => server.close() };
}

/** A server with a data directory of its own, on free ports that stay the same. */
export class NucleusServer {
  data = mkdtempSync(join(tmpdir(), "nucleus-web-"));
  sockets = { session: "127.0.0.1:0", realtime: "127.0.0.1:0", http: "127.0.0.1:0" };
  log = "";

  /** `program` is the server's program, `args` further arguments. */
  constructor(program, { args = [], env = {} } = {}) {
    this.program = program;
    this.args = args;
    this.env = { ...process.env, ...env };
  }

  /** Starts the server. Resolves when it is ready. */
  async start() {
    const sockets = Object.entries(this.sockets).flatMap(([name, at]) => [`--${name}`, at]);
    const more = ["--data-dir", this.data, "--log-format", "json", ...this.args];
    this.process = spawn(this.program, ["serve", ...sockets, ...more], {
      stdio: ["ignore", "ignore", "pipe"],
      env: this.env,
    });
    const ready = new Promise((resolve, reject) => {
      const fail = (why) => () => reject(new Error(`the server ${why}:\n${this.log}`));
      setTimeout(fail("is not ready"), SERVER_MS).unref();
      this.process.on("exit", fail("has ended"));
      this.process.stderr.on("data", (bytes) => {
        this.log = (this.log + bytes).slice(-65_536);
        const line = this.log.split("\n").find((entry) => entry.includes('"message":"ready"'));
        if (line?.endsWith("}")) {
          resolve(JSON.parse(line));
        }
      });
    });
    const { session, realtime, http } = await ready;
    this.sockets = { session, realtime, http };
    return this;
  }

  /** The address of the session plane. */
  get address() {
    return this.sockets.session;
  }

  /** Returns a token of a user. */
  token(user, ...more) {
    const claims = ["--product", "atom", "--tenant", "test", "--user", user, ...more];
    const words = ["token", ...claims, "--data-dir", this.data];
    return execFileSync(this.program, words, { encoding: "utf8", env: this.env }).trim();
  }

  /** Returns the counters of the server, by their names with labels. */
  async metrics() {
    const text = await (await fetch(`http://${this.sockets.http}/metrics`)).text();
    const lines = text.split("\n").filter((line) => line && !line.startsWith("#"));
    return Object.fromEntries(
      lines.map((line) => {
        const at = line.lastIndexOf(" ");
        return [line.slice(0, at), Number(line.slice(at + 1))];
      }),
    );
  }

  /** Kills the server. */
  async kill(signal = "SIGKILL") {
    const { process: running } = this;
    this.log = "";
    if (running && running.exitCode === null && running.signalCode === null) {
      running.removeAllListeners("exit");
      const ended = new Promise((resolve) => running.once("exit", resolve));
      running.kill(signal);
      await ended;
    }
  }

  /** Ends the server, and removes its data directory. */
  async end() {
    await this.kill("SIGTERM");
    rmSync(this.data, { recursive: true, force: true });
  }
}
