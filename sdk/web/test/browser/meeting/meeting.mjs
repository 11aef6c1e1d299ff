// One of the programs that do the same in Rust, C, C# and a browser, and check each other in one
// room. `.ci/meeting.py` starts them and compares their reports.
//
//     node meeting.mjs SERVER TOKEN FILE UNTIL [OTHERS] [--stop-page FROM] [--stop-browser FROM]
//
// Works until the unix time UNTIL, in seconds, in a tab of headless Chromium. FILE has what a tab
// needs that continues after this one was killed. OTHERS is how many others come, by default 2.
// Prints the report as one line of JSON.
//
// `--stop-page`: from this unix time on, the process of the page stands still for ten seconds, as
// that of a frozen tab. `--stop-browser`: all processes of the browser do, as on a device that
// sleeps.
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { serveFiles, startChromium, bundled } from "../support.mjs";

const SLEEP_MS = 10_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { "stop-page": { type: "string" }, "stop-browser": { type: "string" } },
});
const [server, token, file, until, others = "2"] = positionals;
if (!until) {
  process.stderr.write("usage: meeting.mjs SERVER TOKEN FILE UNTIL [OTHERS]\n");
  process.exit(2);
}

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const waitUntil = (unix) => wait(Math.max(0, unix * 1_000 - Date.now()));

/** Replaces the file in one step, so that a killed process leaves the old one or the new one. */
function save(text) {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

/** Returns the processes that a process has started, and so on. */
function descendants(pid) {
  const children = new Map();
  for (const entry of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      // The name of the program, in parentheses, may have any characters.
      const stat = readFileSync(`/proc/${entry}/stat`, "utf8");
      const parent = Number(stat.slice(stat.lastIndexOf(")")).split(" ")[2]);
      children.set(parent, [...(children.get(parent) ?? []), Number(entry)]);
    } catch {
      // The process has ended.
    }
  }
  const all = (of) => (children.get(of) ?? []).flatMap((child) => [child, ...all(child)]);
  return all(pid);
}

/** Sends a signal to processes, as far as they still run. */
function signal(processes, name) {
  for (const pid of processes) {
    try {
      process.kill(pid, name);
    } catch {
      // The process has ended.
    }
  }
}

const isRenderer = (pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("type=renderer");

/** Lets processes of the browser stand still from a unix time on. */
async function stop(from, isStopped) {
  await waitUntil(Number(from));
  const stopped = descendants(process.pid).filter(isStopped);
  // Otherwise the processes would stay as they are.
  process.on("exit", () => signal(stopped, "SIGCONT"));
  signal(stopped, "SIGSTOP");
  await wait(SLEEP_MS);
  signal(stopped, "SIGCONT");
}

const files = await serveFiles({ "/page.js": await bundled("test/browser/meeting/page.ts") });
const browser = await startChromium();
try {
  const page = await browser.newPage();
  page.on("console", (message) => process.stderr.write(`${message.text()}\n`));
  const failed = new Promise((_, reject) => page.on("pageerror", reject));
  await page.exposeFunction("saveMemory", save);
  await page.goto(files.url);
  await page.addScriptTag({ url: "/page.js" });
  await page.bringToFront();
  const memory = existsSync(file) ? readFileSync(file, "utf8") : "";
  const options = { server, token, memory, until: Number(until), others: Number(others) };
  const { "stop-page": stopPage, "stop-browser": stopBrowser } = values;
  const sleeps = [
    stopPage && stop(stopPage, isRenderer),
    stopBrowser && stop(stopBrowser, () => true),
  ];
  const report = page.evaluate((given) => globalThis.meet(given), options);
  const [text] = await Promise.race([Promise.all([report, ...sleeps]), failed]);
  process.stdout.write(`${text}\n`);
} finally {
  await browser.close();
  files.close();
}
