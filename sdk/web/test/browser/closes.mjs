// A page learns why the server has ended its session, each time: otherwise it would come back.
//
//     node test/browser/closes.mjs NUCLEUS
//
// NUCLEUS is the server's program. Chromium drops the code if the connection is closed too early,
// but not always, so each end is tried several times.
// Chromium 156 crashes if a session ends before a stream that the page reads has its end: so a page
// leaves again and again while the state changes.
import assert from "node:assert/strict";
import { NucleusServer, openPage, servePages, startChromium } from "./support.mjs";

const TRIES = 10;
const LEAVES = 100;
const WAIT_MS = 5_000;

const [program] = process.argv.slice(2);
if (!program) {
  process.stderr.write("usage: closes.mjs NUCLEUS\n");
  process.exit(2);
}

/** Runs in a page: joins, and notes the events. */
async function join(options) {
  const seen = [];
  const room = await globalThis.nucleus.connect(options);
  Object.assign(globalThis, { seen, room });
  void (async () => {
    for await (const { kind, code } of room) {
      seen.push(code ? `${kind} ${code}` : kind);
    }
  })();
}

/** What a moderator does, in its page, and how the other page's events must end. */
const ENDS = {
  kicked: () => globalThis.room.kick(globalThis.room.peers()[0].id),
  roomEnded: () => globalThis.room.end(),
};

/** Runs in the moderator's page: changes the state all the time. */
async function change(options) {
  const room = await globalThis.nucleus.connect(options);
  for (let number = 0n; !room.isClosed; number += 1n) {
    room.poll();
    const batch = new globalThis.nucleus.Batch().set({ peer: room.me }, "number", number);
    await room.change(batch).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 35));
  }
}

/** Runs in a page: joins and leaves. Resolves with the number of leaves. */
async function leave({ leaves, ...options }) {
  let count = 0;
  for (; count < leaves; count += 1) {
    const room = await globalThis.nucleus.connect(options);
    const timer = setInterval(() => room.poll(), 16);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await room.leave();
    clearInterval(timer);
  }
  return count;
}

const server = await new NucleusServer(program).start();
const pages = await servePages();
const browser = await startChromium();
try {
  const moderator = await openPage(browser, pages.url, "moderator");
  const page = await openPage(browser, pages.url, "page");
  const tokens = [server.token("mia", "--role", "host"), server.token("ben")];
  const lost = [];
  for (const [code, act] of Object.entries(ENDS)) {
    for (let number = 1; number <= TRIES; number += 1) {
      const options = { server: server.address, room: `${code}-${number}` };
      await moderator.evaluate(join, { ...options, token: tokens[0] });
      await page.evaluate(join, { ...options, token: tokens[1] });
      await moderator.waitForFunction(() => globalThis.room.peers().length === 1);
      await moderator.evaluate(act);
      const end = Date.now() + WAIT_MS;
      let seen = [];
      const isOver = () => seen.some((event) => /^(closed|resumed|rejoined)/.test(event));
      while (!isOver() && Date.now() < end) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        seen = await page.evaluate(() => globalThis.seen);
      }
      if (seen.at(-1) !== `closed ${code}`) {
        lost.push(`${code}: ${seen.join(", ")}`);
      }
      for (const each of [moderator, page]) {
        await each.evaluate(() => globalThis.room.close());
      }
    }
  }
  assert.deepEqual(lost, [], `${lost.length} of ${2 * TRIES} ends have arrived without their code`);
  console.log(`the page has learned why in all of ${2 * TRIES} cases`);

  const options = { server: server.address, room: "leaves" };
  void moderator.evaluate(change, { ...options, token: tokens[0] }).catch(() => {});
  // A page of its own process, so that only this one crashes.
  const other = await startChromium();
  try {
    const leaver = await openPage(other, pages.url, "leaver");
    const count = await leaver.evaluate(leave, { ...options, token: tokens[1], leaves: LEAVES });
    console.log(`the page has left ${count} times`);
  } finally {
    await other.close();
  }
} finally {
  await browser.close();
  pages.close();
  await server.end();
}
