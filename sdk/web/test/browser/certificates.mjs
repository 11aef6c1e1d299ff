// A tab that stays open for two weeks: the server renews its certificate each week, and the tab
// comes back by itself after each loss of its connection, with tokens of its provider.
//
//     node test/browser/certificates.mjs NUCLEUS [--running]
//
// NUCLEUS is the server's program. Needs a C compiler: server and Chromium run with a clock that is
// moved by a week, twice. The connection is lost because the server is killed. With `--running`,
// the server renews while it runs, for which it may take a minute each time, and the connection is
// lost because its path is broken.
import assert from "node:assert/strict";
import { parseArgs } from "node:util";
import { BreakablePath, MovedClock } from "./network.mjs";
import { NucleusServer, openPage, servePages, startChromium } from "./support.mjs";

const WEEK_S = 7 * 86_400;
/** Longest time in ms for the server to look at the clock: it does so each minute. */
const RENEWAL_MS = 70_000;
/** Longest time in ms for a tab to notice that its connection is lost, and to be back. */
const RETURN_MS = 60_000;
/** How long in ms a tab that only has old pins is watched: it tries again every few seconds. */
const WATCH_MS = 8_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { running: { type: "boolean" } },
});
const [program] = positionals;
if (!program) {
  process.stderr.write("usage: certificates.mjs NUCLEUS [--running]\n");
  process.exit(2);
}

/** Runs in a page: joins, and notes the events. Without a token, asks the page's server for one. */
async function join({ server, token, room }) {
  globalThis.seen = [];
  globalThis.asked = 0;
  const provider = async () => {
    globalThis.asked += 1;
    return (await fetch("/token")).json();
  };
  globalThis.room = await globalThis.nucleus.connect({ server, room, token: token ?? provider });
  void (async () => {
    for await (const { kind } of globalThis.room) {
      globalThis.seen.push(kind);
    }
  })();
}

const asked = (page) => page.evaluate(() => globalThis.asked);
const seen = (page) => page.evaluate(() => globalThis.seen);

/** Waits until a page has seen one of these events, and forgets the events. */
async function sees(page, ...kinds) {
  const found = await page.waitForFunction(
    (wanted) => globalThis.seen.find((kind) => wanted.includes(kind)),
    kinds,
    { timeout: RETURN_MS },
  );
  await page.evaluate(() => (globalThis.seen = []));
  return found.jsonValue();
}

/** Whether the server answers the page. */
const answers = (page) =>
  page.evaluate(() =>
    globalThis.room
      .change(new globalThis.nucleus.Batch().set({ peer: globalThis.room.me }, "back", true))
      .then(() => true, String),
  );

async function until(what, isTrue, timeoutMs) {
  const end = Date.now() + timeoutMs;
  while (!isTrue()) {
    assert.ok(Date.now() < end, `not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const clock = new MovedClock();
const server = await new NucleusServer(program, { env: clock.env }).start();
const path = await BreakablePath.to(server.address);
const pages = await servePages({ "/token": () => server.token("ada") });
const browser = await startChromium({ env: clock.env });

/** Breaks the connections of all tabs after the server has renewed its certificate. */
async function renew() {
  clock.move(WEEK_S);
  if (values.running) {
    const renewed = "new sessions get the next development certificate";
    server.log = "";
    await until("the certificate is renewed", () => server.log.includes(renewed), RENEWAL_MS);
    path.isBroken = true;
    return () => (path.isBroken = false);
  }
  await server.kill();
  return () => server.start();
}

try {
  const tab = await openPage(browser, pages.url, "tab");
  await tab.evaluate(join, { server: path.address, room: "weeks" });
  const old = await openPage(browser, pages.url, "old");
  const token = server.token("ben", "--ttl", "30d");
  await old.evaluate(join, { server: path.address, room: "weeks", token });

  for (const week of [1, 2]) {
    const before = await asked(tab);
    const heal = await renew();
    const began = Date.now();
    await Promise.all([tab, old].map((page) => sees(page, "interrupted")));
    await heal();
    const how = await sees(tab, "resumed", "rejoined");
    assert.equal(await answers(tab), true);
    const tokens = (await asked(tab)) - before;
    const seconds = ((Date.now() - began) / 1_000).toFixed(1);
    console.log(`week ${week}: back after ${seconds} s (${how}), with ${tokens} new tokens`);
    if (week === 1) {
      // A token names the next certificate, too.
      await sees(old, "resumed", "rejoined");
    } else {
      assert.ok(tokens > 0, "the tab has not asked for a token: the certificate was not renewed");
    }
  }
  await new Promise((resolve) => setTimeout(resolve, WATCH_MS));
  const kinds = await seen(old);
  assert.ok(!kinds.some((kind) => ["resumed", "rejoined"].includes(kind)), "old pins still do");
  console.log("a tab that gets no new token does not come back, as it should be");
} finally {
  await browser.close();
  pages.close();
  path.end();
  await server.end();
  clock.end();
}
