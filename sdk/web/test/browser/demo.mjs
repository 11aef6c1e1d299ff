// The demo page in Chromium against a real server: two tabs see, hear and call each other, and nothing
// that another client sends breaks the page.
//
//     npm run demo && node test/browser/demo.mjs PATH_OF_THE_SERVER [--shots DIR] [--chromium PATH]
//
// The server must have been built after the page, because it embeds the page.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { parseArgs } from "node:util";
import { colours, messages, reloadInCall } from "./demo-company.mjs";
import { guestScript, launch, startServer } from "./demo-setup.mjs";
import {
  connected,
  errors,
  hasLine,
  HEAL_MS,
  isNear,
  lines,
  open,
  placeOf,
  plain,
  say,
  server as state,
  text,
  toScreen,
  until,
  watch,
} from "./demo-tools.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { shots: { type: "string" }, chromium: { type: "string", default: "/usr/bin/chromium" } },
});
const [binary] = positionals;
if (!binary) {
  process.stderr.write("usage: demo.mjs PATH_OF_THE_SERVER [--shots DIR] [--chromium PATH]\n");
  process.exit(2);
}

const tests = [];
/** What the running test has opened. It is closed after the test, so that no later test meets it. */
const opened = [];
const test = (name, run) => tests.push([name, run]);

const server = await startServer(binary);
const url = `${server.url}/demo#room=demo`;
const browser = await launch(values.chromium);
const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: server.url });
let one, two;

test("two tabs are two people in one room", async () => {
  one = await open(context, url, "first tab");
  await connected(one);
  two = await open(context, url, "second tab");
  await connected(two);
  for (const page of [one, two]) {
    await until("two people", async () => (await text(page, "#count")) === "2 people");
    await until("two heads", async () => (await page.locator("#heads .peer").count()) === 2);
    await until("a round trip", async () => /, \d+ ms$/.test(await text(page, "#connection")));
  }
  await isListed(one, /Visitor 1, this tab[^]*Visitor 2/);
  await isListed(two, /Visitor 2, this tab[^]*Visitor 1/);
  await until("who came in", () => hasLine(one, "came in"));
});

test("a head walks by keys, and the other tab sees it", async () => {
  await one.focus("#plan");
  const before = await placeOf(one, ".peer.me");
  for (let i = 0; i < 4; i += 1) {
    await one.keyboard.press("ArrowUp");
    await one.keyboard.press("d");
  }
  await until("the walk", async () => {
    const [x, y] = await placeOf(one, ".peer.me");
    return x > before[0] + 20 && y < before[1] - 20;
  });
  await until("the same place in the other tab", async () =>
    isNear(await placeOf(one, ".peer.me"), await placeOf(two, ".peer:not(.me)")),
  );
});

test("a head walks to a click, and turns to the cursor, which the other tab sees", async () => {
  await one.mouse.click(...(await toScreen(one, 300, 200)));
  await one.mouse.move(...(await toScreen(one, 600, 200)));
  await until("the walk", async () => isNear(await placeOf(one, ".peer.me"), [300, 200]));
  await until("it in the other tab", async () =>
    isNear(await placeOf(two, ".peer:not(.me)"), [300, 200]),
  );
  await until("the cursor", async () => isNear(await placeOf(two, ".cursor"), [600, 200]));
  await until("the look to the right", async () => {
    const turn = await two.getAttribute(".peer:not(.me) > g > g", "transform");
    return Math.abs(Number(/-?\d+/.exec(turn)[0])) < 5;
  });
});

test("the plan says in words who is where", async () => {
  await until("the label", async () =>
    /You are .*\. Visitor 1 is .*(you|metre|metres)/.test(plain(await two.getAttribute("#plan", "aria-label"))),
  );
});

/** Waits until the list of people matches. */
const isListed = (page, wanted) =>
  until(`the list matches ${wanted}`, async () => wanted.test(await text(page, "#people")));

const cubeText = async (page) => plain(await page.locator("#cube-label").textContent());

test("the newest who takes the cube has it, and it moves along", async () => {
  await until("a cube", async () => (await cubeText(one)) === "Cube");
  await one.focus("#plan");
  await one.keyboard.press("g");
  await until("it is mine", async () => (await cubeText(one)) === "Cube, held by you");
  await until("it is of the first", async () => (await cubeText(two)) === "Cube, held by Visitor 1");
  const before = await placeOf(two, "#cube");
  await one.mouse.click(...(await toScreen(one, 450, 420)));
  await until("it moves", async () => !isNear(await placeOf(two, "#cube"), before));
  await two.focus("#plan");
  await two.keyboard.press("g");
  await until("it is the second's", async () => (await cubeText(one)) === "Cube, held by Visitor 2");
  await until("the list says so", async () => /holds the cube/.test(await text(one, "#people")));
  await two.keyboard.press("g");
  for (const page of [one, two]) {
    await until("it is free", async () => (await cubeText(page)) === "Cube");
  }
  await until("it lies at the same place for both", async () =>
    isNear(await placeOf(one, "#cube"), await placeOf(two, "#cube")),
  );
});

test("a click takes the cube", async () => {
  const place = await placeOf(two, "#cube");
  await two.mouse.click(...(await toScreen(two, place[0], place[1])));
  await until("it is taken", async () => (await cubeText(one)) === "Cube, held by Visitor 2");
  await two.focus("#plan");
  await two.keyboard.press("g");
  await until("it is free", async () => (await cubeText(one)) === "Cube");
});

test("texts arrive as texts", async () => {
  const hostile = [
    "こんにちは",
    "<img src=x onerror=alert(1)><b>bold</b>",
    "\u202eright to left \u2067and more",
    "😀".repeat(500),
    "x".repeat(500),
    `a${"\u0301\u0323".repeat(200)}`,
  ];
  for (const words of hostile) {
    await say(one, words);
    await until(`the text ${words.slice(0, 20)}`, async () =>
      (await two.locator("#log p").allTextContents()).includes(words),
    );
  }
  assert.equal(await two.locator("#log img, #log p b").count(), 0, "a text is no markup");
  await say(one, "y".repeat(501));
  assert.equal(await one.inputValue("#say"), "y".repeat(501), "a text that is too long stays");
  assert.equal(await hasLine(two, "yyyy"), false);
  await one.fill("#say", "");
});

test("the log keeps 200 lines", async () => {
  await one.evaluate(async () => {
    for (let i = 0; i < 250; i += 1) {
      document.querySelector("#say").value = `line ${i}`;
      document.querySelector("#form").requestSubmit();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  });
  await until("the last line", () => hasLine(two, "line 249"));
  assert.equal(await two.locator("#log > div").count(), 200);
  await until("the log shows its end", () => two.evaluate(() => {
    const log = document.querySelector("#log");
    return log.scrollHeight - log.scrollTop - log.clientHeight < 5;
  }));
});

test("a voice is seen by the other tab", async () => {
  await one.click("#mic");
  await until("the button is pressed", async () => (await one.getAttribute("#mic", "aria-pressed")) === "true");
  await until("the label", async () => (await text(one, "#mic-label")) === "Mute");
  await until("who speaks, in the list", async () => /Speaking/.test(await text(two, "#people")));
  await until("who speaks, in the plan", async () => (await two.locator(".peer.talks").count()) === 1);
});

test("pictures in light and dark", async () => {
  await two.mouse.move(...(await toScreen(two, 372, 190)));
  await one.mouse.move(...(await toScreen(one, 506, 256)));
  if (values.shots) {
    await pictures();
  }
  await one.click("#mic");
  await until("silence", async () => !/Speaking/.test(await text(two, "#people")));
  await until("who is muted", async () => /Muted/.test(await text(two, "#people")));
  await until("the button", async () => (await one.getAttribute("#mic", "aria-pressed")) === "false");
});

/** Takes the pictures of the second tab, with a short conversation. */
async function pictures() {
  mkdirSync(values.shots, { recursive: true });
  for (const page of [one, two]) {
    await page.evaluate(() => document.querySelector("#log").replaceChildren());
  }
  await one.focus("#plan");
  await one.mouse.click(...(await toScreen(one, 640, 235)));
  await two.mouse.click(...(await toScreen(two, 235, 330)));
  await say(one, "I see your head and your cursor.");
  await say(two, "Hello! And I see yours. Who holds the cube?");
  await one.focus("#plan");
  await one.keyboard.press("g");
  await until("the cube", async () => (await cubeText(two)) === "Cube, held by Visitor 1");
  await say(one, "I do. Take it, the newest wins.");
  await until("the walk", async () => isNear(await placeOf(two, ".peer:not(.me)"), [640, 235]));
  await one.mouse.move(...(await toScreen(one, 506, 256)));
  await two.mouse.move(...(await toScreen(two, 372, 190)));
  await until("who speaks", async () => (await two.locator(".peer.talks").count()) === 1);
  await until("the cursor", async () => isNear(await placeOf(two, ".cursor:not(.mine)"), [506, 256]));
  await two.evaluate(() => document.activeElement?.blur());
  for (const scheme of ["dark", "light"]) {
    await two.emulateMedia({ colorScheme: scheme });
    await until("who speaks", async () => (await two.locator(".peer.talks").count()) === 1);
    await two.screenshot({ path: `${values.shots}/demo-${scheme}.png` });
  }
  await two.setViewportSize({ width: 360, height: 740 });
  await two.waitForTimeout(300);
  await two.screenshot({ path: `${values.shots}/demo-phone.png` });
  await two.setViewportSize({ width: 1280, height: 800 });
}

test("dark differs from light, and motion can be reduced", async () => {
  const background = () => two.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await two.emulateMedia({ colorScheme: "light", reducedMotion: "reduce" });
  const light = await background();
  await two.emulateMedia({ colorScheme: "dark", reducedMotion: "reduce" });
  assert.notEqual(await background(), light);
  const animation = await two.evaluate(
    () => getComputedStyle(document.querySelector(".ring + .ring")).animationName,
  );
  assert.equal(animation, "none");
  await two.emulateMedia({ colorScheme: "light", reducedMotion: "no-preference" });
});

test("nothing scrolls sideways at 360 px", async () => {
  await two.setViewportSize({ width: 360, height: 740 });
  const [content, window] = await two.evaluate(() => [
    document.documentElement.scrollWidth,
    document.documentElement.clientWidth,
  ]);
  assert.ok(content <= window, `${content} px of content in ${window} px`);
  await two.setViewportSize({ width: 1280, height: 800 });
});

test("everything is reached by the keyboard", async () => {
  const reached = new Set();
  await two.evaluate(() => document.activeElement?.blur());
  for (let i = 0; i < 12; i += 1) {
    await two.keyboard.press("Tab");
    reached.add(await two.evaluate(() => document.activeElement?.id || document.activeElement?.className));
  }
  for (const id of ["copy", "plan", "mic", "call", "leave", "log", "say"]) {
    assert.ok(reached.has(id), `Tab does not reach ${id}: ${[...reached].join(", ")}`);
  }
});

test("the link for a second tab is copied", async () => {
  await one.bringToFront();
  await one.click("#copy");
  await until("a message", async () => /Copied/.test(await text(one, "#toasts")));
  assert.equal(await one.evaluate(() => navigator.clipboard.readText()), url);
});

test("a call is accepted, and both come back after it", async () => {
  await until("somebody to call", async () => plain(await text(one, "#call")) === "Call Visitor 2");
  await one.click("#call");
  await two.waitForSelector("#ring[open]");
  assert.equal(plain(await text(two, "#ring-title")), "Visitor 1 calls you");
  await two.click("#accept");
  for (const [page, other] of [
    [one, "Visitor 2"],
    [two, "Visitor 1"],
  ]) {
    await until("the badge", async () => plain(await text(page, "#in-call")) === `In a call with ${other}`);
    await until("the call's room", async () => (await text(page, "#title")) === "A call");
    await until("two people", async () => (await text(page, "#count")) === "2 people");
  }
  await say(one, "between us");
  await until("the text", () => hasLine(two, "between us"));
  await two.click("#call");
  for (const page of [one, two]) {
    await until("the demo room", async () => (await text(page, "#title")) === "Demo room");
    await until("two people", async () => (await text(page, "#count")) === "2 people");
    await until("no badge", async () => !(await page.isVisible("#in-call")));
  }
});

test("a call is rejected by Esc, and cancelled by the caller", async () => {
  await until("somebody to call", async () => plain(await text(two, "#call")) === "Call Visitor 1");
  await two.click("#call");
  await one.waitForSelector("#ring[open]");
  await one.keyboard.press("Escape");
  await until("the dialog is closed", async () => !(await one.isVisible("#ring")));
  await until("the caller hears of it", async () => /rejected/.test(await text(two, "#toasts")));
  await until("somebody to call", async () => plain(await text(two, "#call")) === "Call Visitor 1");
  await two.click("#call");
  await one.waitForSelector("#ring[open]");
  await two.click("#call");
  await until("the dialog is closed", async () => !(await one.isVisible("#ring")));
  await until("no badge", async () => !(await two.isVisible("#in-call")));
});

test("a reload comes back as the same peer", async () => {
  const before = (await lines(one)).length;
  await two.reload();
  await connected(two);
  await until("two people", async () => (await text(two, "#count")) === "2 people");
  await isListed(two, /Visitor 2, this tab/);
  await two.waitForTimeout(500);
  const news = (await lines(one)).slice(before).map(plain);
  assert.deepEqual(news.filter((line) => /came in|left/.test(line)), [], "nobody came or left");
  assert.equal(await text(one, "#count"), "2 people");
});

test("after a reload in a call, names are names", () => reloadInCall(one, two));

test("messages cover no chat, and go when their reason is gone", () => messages(context, server.url));

test("each of nine people has a colour of their own", async () => {
  const guests = await colours(browser, server.url, one);
  await guests.leave();
  await until("two people", async () => (await text(one, "#count")) === "2 people");
});

test("a duplicated tab is somebody else", async () => {
  const [three] = await Promise.all([
    context.waitForEvent("page"),
    // A window that a page opens gets a copy of the page's sessionStorage, as a duplicated tab does.
    two.evaluate((address) => void window.open(address), url),
  ]);
  opened.push(three);
  watch(three, "duplicated tab");
  await connected(three);
  // A page draws its list some frames after its badge.
  await isListed(three, /Visitor 3, this tab/);
  await until("three people", async () => (await text(one, "#count")) === "3 people");
  assert.match(await text(two, "#connection"), /^Connected/);
  await until("a choice of whom to call", async () => (await text(one, "#call")) === "Call…");
  await one.click("#call");
  await until("two to choose from", async () => (await one.locator("#choices button").count()) === 2);
  await one.keyboard.press("Escape");
  await three.click("#leave");
  await until("two people", async () => (await text(one, "#count")) === "2 people");
  await until("a line", async () => (await lines(one)).some((line) => plain(line) === "Visitor 3 left."));
  await until("the badge", async () => (await text(three, "#connection")) === "Left");
  await three.click("#leave");
  await connected(three);
  await until("three people", async () => (await text(one, "#count")) === "3 people");
  await three.click("#leave");
  await until("two people", async () => (await text(one, "#count")) === "2 people");
});

test("a guest with a hostile name, from another client, walks and greets", async () => {
  const guests = await browser.newContext({ bypassCSP: true });
  opened.push(guests);
  const guest = await guests.newPage();
  await guest.goto(`${server.url}/demo/demo.css`);
  await guest.evaluate(await guestScript());
  const name = `<b>${"😀".repeat(24)}`;
  await guest.evaluate(async (own) => {
    const request = { user: "guest", name: own };
    const options = { method: "POST", headers: { "content-type": "application/json" } };
    const answer = await (await fetch("/demo/token", { ...options, body: JSON.stringify(request) })).json();
    const room = await nucleus.connect({ ...answer, room: "demo", name: own });
    const bytes = (text) => new TextEncoder().encode(text);
    setInterval(() => {
      room.poll();
      const head = { position: [1, 1.65, -1], rotation: [0, 0, 0, 1] };
      room.sendPose({ head });
      room.sendPointer(new Uint8Array([0, 0, 192, 127, 0, 0, 128, 127]));
    }, 33);
    await room.sendEvent("others", 1, bytes("welcome, Visitor!"));
    await room.sendEvent("others", 0, new Uint8Array([255, 254, 0]));
    await room.sendTypedEvent("others", "chat", bytes(`${"\n".repeat(400)}${"x".repeat(9000)}`));
    await room.sendTypedEvent("others", "chat", bytes("a\u202Eb</p><script>alert(1)</script>"));
    await room.sendTypedEvent("others", "chat", new Uint8Array(3000).fill(0xf0));
    for (let i = 0; i < 20; i += 1) {
      await room.sendTypedEvent("others", "chat", crypto.getRandomValues(new Uint8Array(64)));
    }
    await room.change(new nucleus.Batch().claim(nucleus.sceneObject(0x63756265))
      .set({ object: nucleus.sceneObject(0x63756265) }, "demo.cube", `NaN ${"9".repeat(4000)}`));
    globalThis.room = room;
  }, name);
  await until("a third head", async () => (await one.locator("#heads .peer").count()) === 3);
  await until("it stands where it said", async () => {
    const heads = await one.locator("#heads .peer").all();
    const places = await Promise.all(heads.map((head) => head.getAttribute("transform")));
    return places.includes("translate(550.0 200.0)");
  });
  await until("the greeting", () => hasLine(one, "welcome, Visitor!"));
  const label = await one.locator("#heads .name").allTextContents();
  assert.ok(label.some((words) => [...new Intl.Segmenter().segment(words)].length === 21), label.join());
  const [content, window] = await one.evaluate(() => [
    document.documentElement.scrollWidth,
    document.documentElement.clientWidth,
  ]);
  assert.ok(content <= window, "the name does not widen the page");
  assert.equal(await one.locator("#people b b, #log script, .demo script").count(), 0);
  const cube = await placeOf(one, "#cube");
  assert.ok(cube && cube.every(Number.isFinite), "the cube is in the room");
  await guest.evaluate(() => room.leave());
  await until("two people", async () => (await text(one, "#count")) === "2 people");
});

test("without permission for the microphone the page says so", async () => {
  const strict = await launch(values.chromium, ["--deny-permission-prompts"], false);
  opened.push(strict);
  const page = await open(await strict.newContext(), `${server.url}/demo#room=quiet`, "strict tab");
  await connected(page);
  await page.click("#mic");
  await until("a message", async () => /microphone/i.test(await text(page, "#toasts")));
  assert.equal(await page.getAttribute("#mic", "aria-pressed"), "false");
  await page.click("#leave");
});

test("a refusal says what to do", async () => {
  const page = await open(context, `${server.url}/demo#room=a%07b`, "refused tab");
  opened.push(page);
  await until("the badge", async () => /^Refused: The room's name/.test(await text(page, "#connection")));
  await until("the button", async () => (await text(page, "#leave")) === "Join again");
});

test("a restart of the server heals by itself", async () => {
  state.isDown = true;
  await server.restart();
  for (const page of [one, two]) {
    await connected(page, HEAL_MS);
    await until("two people", async () => (await text(page, "#count")) === "2 people", HEAL_MS);
  }
  await say(one, "after the restart");
  await until("the text", () => hasLine(two, "after the restart"));
  await until("somebody to call", async () => plain(await text(one, "#call")) === "Call Visitor 2", HEAL_MS);
  state.isDown = false;
});

test("leaving ends everything", async () => {
  for (const page of [one, two]) {
    await page.click("#leave");
    await until("the badge", async () => (await text(page, "#connection")) === "Left");
    await until("nobody", async () => (await text(page, "#count")) === "Nobody");
  }
});

let failed = 0;
for (const [name, run] of tests) {
  const begin = Date.now();
  try {
    await run();
    process.stdout.write(`ok   ${name} (${Date.now() - begin} ms)\n`);
  } catch (error) {
    failed += 1;
    process.stdout.write(`FAIL ${name}: ${error.message}\n`);
    for (const [page, tab] of [[one, "first"], [two, "second"]]) {
      const said = await page?.locator("#connection").innerText({ timeout: 1_000 }).catch(() => "no answer");
      process.stdout.write(`     the ${tab} tab says: ${said}\n`);
    }
  }
  for (const page of opened.splice(0)) {
    await page.close();
  }
}
await browser.close();
await server.stop();
for (const error of new Set(errors)) {
  failed += 1;
  process.stdout.write(`FAIL error in the console of the ${error}\n`);
}
process.exit(failed > 0 ? 1 : 0);
