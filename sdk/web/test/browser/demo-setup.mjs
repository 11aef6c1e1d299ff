// Starts what the test of the demo page needs: the server, Chromium, and the SDK for a guest.
import { build } from "esbuild";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

/** Longest time for the server to be ready or to stop, in ms. */
const SERVER_MS = 20_000;

/** Starts the server once. Resolves with its process and its addresses when it is ready. */
function start(binary, session, realtime, http, data) {
  const sockets = ["--session", session, "--realtime", realtime, "--http", http];
  const child = spawn(binary, ["serve", ...sockets, "--data-dir", data, "--log-format", "json"], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  return new Promise((resolve, reject) => {
    let log = "";
    const timer = setTimeout(() => reject(new Error(`the server is not ready:\n${log}`)), SERVER_MS);
    child.on("exit", (code) => reject(new Error(`the server ended with ${code}:\n${log}`)));
    child.stderr.on("data", (data) => {
      log = (log + data).slice(-65_536);
      const line = log.split("\n").find((entry) => entry.includes('"message":"ready"'));
      if (line?.endsWith("}")) {
        clearTimeout(timer);
        resolve({ child, ready: JSON.parse(line) });
      }
    });
  });
}

/** Stops a server, and waits until it has ended. */
function stop(child) {
  child.removeAllListeners("exit");
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill("SIGKILL"), SERVER_MS);
    child.on("exit", () => {
      clearTimeout(timer);
      resolve();
    });
    child.kill("SIGTERM");
  });
}

/** Starts a server on free ports, with a data directory of its own. */
export async function startServer(binary) {
  const data = mkdtempSync(join(tmpdir(), "nucleus-demo-"));
  const any = "127.0.0.1:0";
  let { child, ready } = await start(binary, any, any, any, data);
  const { session, realtime, http } = ready;
  return {
    url: `http://${http}`,
    async restart() {
      await stop(child);
      ({ child } = await start(binary, session, realtime, http, data));
    },
    async stop() {
      await stop(child);
      rmSync(data, { recursive: true, force: true });
    },
  };
}

/** Starts Chromium, with a microphone that beeps and may be used, or with none of both. */
export function launch(executablePath, more = [], hasMicrophone = true) {
  const microphone = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];
  return chromium.launch({
    executablePath,
    args: [
      "--headless=new",
      "--no-sandbox",
      "--disable-gpu",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--autoplay-policy=no-user-gesture-required",
      ...(hasMicrophone ? microphone : []),
      ...more,
    ],
  });
}

/** Returns a script that makes the SDK the global `nucleus`, for a page that is no demo. */
export async function guestScript() {
  const { outputFiles } = await build({
    absWorkingDir: fileURLToPath(new URL("../..", import.meta.url)),
    entryPoints: ["src/index.ts"],
    bundle: true,
    write: false,
    format: "iife",
    globalName: "nucleus",
    target: "es2022",
  });
  // A page evaluates the script in a function, so the name is made global by hand.
  return `${outputFiles[0].text};globalThis.nucleus = nucleus;`;
}
