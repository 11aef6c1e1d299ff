// The microphone and the speaker in Chromium, with its fake microphone.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { type Browser, chromium, type Page } from "playwright-core";

import { WORKLET_SOURCE } from "../../src/voice/worklet.js";
import type * as VoicePage from "../voice/page.js";

const BUILD = fileURLToPath(new URL("../..", import.meta.url));
const CHROMIUM = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
/** A policy that allows scripts of the page's own server alone. */
const STRICT = "default-src 'none'; script-src 'self'";

let server: Server;
let browser: Browser;

before(async () => {
  server = createServer((request, response) => {
    const url = new URL(request.url ?? "/", "http://localhost");
    if (url.pathname === "/") {
      const policy = url.searchParams.get("policy");
      response.setHeader("content-type", "text/html");
      if (policy !== null) {
        response.setHeader("content-security-policy", policy);
      }
      response.end("<!doctype html><title>voice</title>");
      return;
    }
    response.setHeader("content-type", "text/javascript");
    if (url.pathname === "/worklet.js") {
      response.end(WORKLET_SOURCE);
      return;
    }
    readFile(BUILD + url.pathname).then(
      (text) => response.end(text),
      () => response.writeHead(404).end(),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
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
      "--use-fake-device-for-media-stream",
      "--use-fake-ui-for-media-stream",
      "--autoplay-policy=no-user-gesture-required",
    ],
  });
});

after(async () => {
  await browser.close();
  server.close();
});

async function open(policy?: string): Promise<Page> {
  const page = await browser.newPage();
  const { port } = server.address() as AddressInfo;
  const query = policy === undefined ? "" : `?policy=${encodeURIComponent(policy)}`;
  await page.goto(`http://localhost:${port}/${query}`);
  return page;
}

type Options = Parameters<typeof VoicePage.run>[0];

/** Speaks and listens in a page. */
async function run(
  options: Options,
  policy?: string,
): Promise<VoicePage.Result & { asked: number }> {
  const page = await open(policy);
  try {
    return await page.evaluate(async (options) => {
      const path = "/test/voice/page.js";
      const voice = (await import(path)) as typeof VoicePage;
      const watch = voice.watchUserMedia();
      return { ...(await voice.run(options)), asked: watch.asked };
    }, options);
  } finally {
    await page.close();
  }
}

/** The fake microphone beeps. Would catch sound that does not come out, and what stays open. */
test("the microphone is heard, and closing frees everything", async () => {
  const result = await run({ ms: 4_000, loss: 0 });
  const { packets, after, heard, loudest, steps } = result;
  assert.equal(result.asked, 1);
  assert.ok(packets > 20 && packets <= 210, `${packets} packets`);
  assert.ok(loudest < 40, `the loudest packet has ${loudest} -dBov`);
  assert.ok(
    heard.every((level) => level > 0.01),
    `${heard}`,
  );
  assert.ok((steps["packet"] ?? 0) >= packets - 25, `${packets} packets, ${JSON.stringify(steps)}`);
  const { track, contexts } = after;
  assert.deepEqual([after.packets, after.steps, track, contexts[0]], [0, 0, "ended", "running"]);
});

/** A tone of a second, a second of silence: the silence is not sent, and each tone is a spurt. */
test("silence sends nothing, and levels and spurts are right", async () => {
  const result = await run({ ms: 6_200, loss: 0, tone: true });
  const { packets, spurts, speaking, loudest, largestPacket, heard, after } = result;
  assert.equal(result.asked, 0, "nobody is asked for a microphone");
  // Three seconds with a tone, and 400 ms after each.
  assert.ok(packets >= 170 && packets <= 240, `${packets} packets`);
  assert.ok(spurts >= 3 && spurts <= 4, `${spurts} spurts`);
  assert.ok(speaking >= 130 && speaking <= 180, `${speaking} packets with a voice`);
  assert.ok(loudest >= 8 && loudest <= 10, `0.5 is 9 dB below the loudest: ${loudest}`);
  assert.ok(largestPacket < 400, `${largestPacket} bytes`);
  // 0.35 in the middle is 0.25 on each side.
  assert.ok(
    heard.every((level) => level > 0.2 && level < 0.35),
    `${heard}`,
  );
  assert.equal(after.track, "live", "the stream is the application's");
});

test("with losses the sound goes on, and a peer is heard where it is", async () => {
  const result = await run({ ms: 5_000, loss: 0.3, tone: true, pan: -1 });
  const { steps, lost, heard } = result;
  assert.ok(lost > 50, `${lost}`);
  assert.ok((steps["conceal"] ?? 0) > 5, JSON.stringify(steps));
  assert.ok(heard[0] > 0.3 && heard[0] < 0.5, `left ${heard[0]}`);
  assert.ok(heard[1] < 0.01, `right ${heard[1]}`);
});

test("a device of 44.1 kHz, and a page that is busy for 400 ms", async () => {
  const { heard, steps, packets } = await run({
    ms: 4_000,
    loss: 0,
    tone: true,
    rate: 44_100,
    hang: true,
  });
  assert.ok(
    heard.every((level) => level > 0.2 && level < 0.35),
    `${heard}`,
  );
  assert.ok((steps["packet"] ?? 0) > packets / 2, `${packets} packets, ${JSON.stringify(steps)}`);
});

test("packets that are no Opus do no harm", async () => {
  const { heard, packets } = await run({ ms: 3_000, loss: 0, tone: true, garbage: true });
  assert.ok(packets > 50, `${packets}`);
  assert.ok(heard.every(Number.isFinite), `${heard}`);
});

test("a strict policy needs a file for the worklet, or blob:", async () => {
  const options = { ms: 1_500, loss: 0, tone: true };
  await assert.rejects(run(options, STRICT), /worklet|abort|load/i);
  const withFile = await run({ ...options, workletUrl: "/worklet.js" }, STRICT);
  assert.ok(withFile.heard[0] > 0.2, `${withFile.heard}`);
  const withBlob = await run(options, `${STRICT} blob:`);
  assert.ok(withBlob.heard[0] > 0.2, `${withBlob.heard}`);
});
