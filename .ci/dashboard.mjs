// The dashboard of a running server, in Chromium: signing in from the link in the log, every screen with real
// content, and what an operator does. Every action is done by keyboard alone.
//
//     node .ci/dashboard.mjs NUCLEUS LOADGEN [--shots DIR]
//
// Checks each screen in both themes, on a phone and a desktop: no finding of axe, no violation of the policy, no
// error of a script, nothing that scrolls the page sideways. Needs `npm ci` in sdk/web.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHmac, generateKeyPairSync } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Keyboard } from "./keyboard.mjs";

const require = createRequire(new URL("../sdk/web/package.json", import.meta.url));
const { chromium } = require("playwright-core");
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const EMAIL = "ada@example.org";
const PASSWORD = "a long sentence for a test";
const NEW_PASSWORD = "another long sentence for a test";
/** Longest time for the server to start, or for a live part to arrive, in ms. */
const SOON_MS = 20_000;
const SIZES = [
  ["phone", { width: 360, height: 740 }],
  ["desktop", { width: 1280, height: 900 }],
];
const SCREENS = [
  ["overview", "/"],
  ["rooms", "/rooms"],
  ["calls", "/calls"],
  ["bans", "/bans"],
  ["sessions", "/sessions"],
  ["audit", "/audit"],
  ["tenants", "/tenants"],
  ["tenant-new", "/tenants/new"],
  ["keys", "/keys"],
  ["webhooks", "/webhooks"],
  ["webhook-new", "/webhooks/new"],
  ["people", "/people"],
  ["network", "/network"],
  ["account", "/account"],
  ["totp", "/account?totp=new"],
];

const { values, positionals } = parseArgs({ allowPositionals: true, options: { shots: { type: "string" } } });
const [nucleus, loadgen] = positionals;
if (!loadgen) {
  process.stderr.write("usage: dashboard.mjs NUCLEUS LOADGEN [--shots DIR]\n");
  process.exit(2);
}
if (values.shots) mkdirSync(values.shots, { recursive: true });

const faults = [];

async function until(what, isTrue) {
  const end = Date.now() + SOON_MS;
  while (!(await isTrue())) {
    assert.ok(Date.now() < end, `not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function freePort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

const directory = mkdtempSync(join(tmpdir(), "dashboard-"));
const [session, realtime, http] = [await freePort(), await freePort(), await freePort()];
const data = join(directory, "data");
const address = (port) => `127.0.0.1:${port}`;
let log = "";
const server = spawn(nucleus, [
  "--data-dir", data, "--shards", "1",
  "--session", address(session), "--realtime", address(realtime), "--http", address(http),
]);
server.stderr.on("data", (text) => {
  log += text;
});
const crowd = [];
/** Whether the server ends, so that live parts break off. */
let isEnding = false;
/** The ids of what the receiver of webhooks was told. */
const told = [];
const headsets = (...more) => {
  const child = spawn(loadgen, [
    "run", "--target", address(session), "--data-dir", data, "--headsets", "12", "--room-size", "6", ...more,
  ], { stdio: "ignore" });
  crowd.push(child);
  return child;
};

const base = `http://${address(http)}`;
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
});

/** Pages whose session an act ends. */
const signedOut = new Set();

/** Waits until a page whose session has ended leads to the sign-in by itself. */
async function leadsToSignIn(page) {
  await until("the page of an ended session leads to the sign-in", () => page.url().includes("/signin?next="));
  signedOut.delete(page);
}

/** Opens a tab, and collects what goes wrong in it. */
async function open(context) {
  const page = await context.newPage();
  const say = (words) => faults.push(`${page.url()}: ${words}`);
  page.on("pageerror", (error) => say(`script: ${error.message}`));
  page.on("console", (message) => {
    const isExpected = isEnding || (signedOut.has(page) && message.text().includes("401 (Unauthorized)"));
    if (message.type() === "error" && !isExpected) say(`console: ${message.text()}`);
  });
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (e) => console.error(`policy: ${e.effectiveDirective}`));
  });
  return page;
}

async function signIn(keys, email, password = PASSWORD, code = "") {
  const { page } = keys;
  await page.goto(`${base}/signin`);
  await keys.type(page.locator("#email"), email);
  await keys.type(page.locator("#password"), password);
  if (code) await keys.type(page.locator("#code"), code);
  await page.keyboard.press("Enter");
  await page.waitForURL(`${base}/`);
  keys.done.push("sign in");
}

async function setPassword(keys, link) {
  const { page } = keys;
  await page.goto(link);
  if (await page.locator("#email").count()) await keys.type(page.locator("#email"), EMAIL);
  await keys.type(page.locator("#password"), PASSWORD);
  await keys.press(page.locator("button.main"));
  await keys.did("set a password by a link", "The password is set", "main");
}

/** Returns the code of an authenticator app at a time in ms. */
function code(secret, at) {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...secret].map((letter) => letters.indexOf(letter).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(at / 30_000)));
  const tag = createHmac("sha1", key).update(step).digest();
  const number = tag.readUInt32BE(tag[19] & 15) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, "0");
}

/** Starts a receiver of webhooks. */
function startReceiver() {
  return new Promise((resolve) => {
    const receiver = createHttpServer((request, response) => {
      told.push(request.headers["webhook-id"]);
      request.resume();
      response.writeHead(200).end();
    }).listen(0, "127.0.0.1", () => resolve(receiver));
  });
}

/** Looks at the open page as it is shown. */
async function look(page, name) {
  for (const [size, viewport] of SIZES) {
    await page.setViewportSize(viewport);
    for (const theme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme: theme });
      const say = (words) => faults.push(`${name} ${size} ${theme}: ${words}`);
      await page.evaluate(AXE);
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      for (const { id, nodes } of violations) say(`axe ${id}: ${nodes[0].html.slice(0, 160)}`);
      const [content, window] = await page.evaluate(() => [
        document.documentElement.scrollWidth,
        document.documentElement.clientWidth,
      ]);
      if (content > window) say(`scrolls sideways: ${content} px in ${window} px`);
      if (values.shots) await page.screenshot({ path: join(values.shots, `${name}-${size}-${theme}.png`), fullPage: true });
    }
  }
  await page.setViewportSize(SIZES[1][1]);
}

/** Opens a tab of a browser of its own. */
async function newReader() {
  const page = await open(await browser.newContext({ viewport: SIZES[1][1] }));
  return new Keyboard(page, (words) => faults.push(words));
}

async function run() {
  await until("the link in the log", () => /\/link\?token=\S+/.test(log));
  const keys = await newReader();
  const { page } = keys;
  await setPassword(keys, /http:\S+\/link\?token=[\w-]+/.exec(log)[0]);
  await signIn(keys, EMAIL);
  await until("the first steps", async () => /Nobody has joined yet/.test(await page.locator("main").innerText()));
  await look(page, "first-run");

  const visitors = headsets("--duration", "4s");
  await new Promise((resolve) => visitors.on("exit", resolve));
  headsets("--duration", "600s");
  await keys.visit("/rooms");
  await until("two rooms, live", async () => (await page.locator("tbody tr").count()) === 2);
  for (const [name, path] of SCREENS) {
    await page.goto(base + path);
    await look(page, name);
  }

  await keys.visit("/sessions");
  await keys.press(page.locator("tr", { hasText: "Left" }).locator("th a").first());
  await until("the verdict", async () => (await page.locator(".verdict").count()) === 1);
  await look(page, "session");

  await actOnRooms(keys);
  await setUp(keys);
  await actOnUsers(keys);
  await actOnWebhook(keys);
  const viewer = await actOnPeople(keys);
  await actOnAccounts(keys, viewer);

  await keys.visit("/audit");
  const audit = await page.locator("main").innerText();
  const acts = [
    "room.lock", "room.close", "peer.mute", "peer.kick", "tenant.create", "key.create", "key.revoke", "issuer.create",
    "issuer.delete", "webhook.create", "webhook.replay", "webhook.delete", "person.create", "person.link",
    "person.password", "person.totp", "ban.create", "ban.delete", "user.forget",
  ];
  for (const act of acts) assert.ok(audit.includes(act), `the audit lacks ${act}: ${audit.slice(0, 2_000)}`);
  await keys.type(page.locator("#action"), "tenant");
  await keys.press(page.getByRole("button", { name: "Search" }));
  await page.waitForURL(/action=tenant/);
  const found = await page.locator("main tbody").innerText();
  assert.ok(found.includes("tenant.create") && !found.includes("key.create"), `the search of the audit: ${found.slice(0, 600)}`);
  await look(page, "audit-search");
  await signOut(keys);
  await page.goto(`${base}/rooms`);
  assert.match(page.url(), /\/signin\?next=/);

  await signIn(keys, EMAIL, NEW_PASSWORD);
  const end = new Promise((resolve) => server.on("exit", resolve));
  isEnding = true;
  await keys.confirm(page.locator('[data-dialog="drain"]'));
  await keys.did("drain", "The server takes no more sessions");
  await end;
  await until("the page says that it is not live", async () => (await page.locator("[data-live].idle").count()) === 1);
  return [...keys.done, ...viewer.done];
}

async function signOut(keys) {
  await keys.press(keys.page.getByRole("button", { name: "Sign out" }));
  await keys.did("sign out", "You are signed out", "main");
}

/** Finds a room, and acts upon it and its peers. */
async function actOnRooms(keys) {
  const { page } = keys;
  await page.setViewportSize(SIZES[0][1]);
  await keys.press(page.getByRole("button", { name: "Menu" }));
  await keys.visit("/calls");
  keys.done.push("open the menu on a phone");
  await page.setViewportSize(SIZES[1][1]);
  await keys.visit("/rooms");
  const first = page.locator("tbody th a").first();
  const name = await first.innerText();
  await page.keyboard.press("/");
  await page.keyboard.type(name);
  await page.keyboard.press("Enter");
  await page.waitForURL(/q=/);
  await until("the room that was searched", async () => (await page.locator("tbody tr").count()) === 1);
  keys.done.push("search");
  await keys.press(first);
  await until("six heads in the plan", async () => (await page.locator("svg.plan .head").count()) >= 6);
  await look(page, "room");
  await keys.press(page.getByRole("button", { name: "Lock", exact: true }));
  await keys.did("lock a room", "Room locked");
  assert.ok(!page.url().includes("done="), "a message is shown once");
  await keys.press(page.locator(".toasts button"));
  assert.equal(await page.locator(".toast").count(), 0);
  keys.done.push("close a message");
  await keys.press(page.getByRole("button", { name: "Unlock", exact: true }));
  await keys.did("unlock a room", "Room unlocked");
  await keys.press(page.locator("tbody tr", { hasText: "Mute" }).first().getByRole("button", { name: "Mute" }));
  await keys.did("mute", "Muted", ".roster .badge");
  await keys.press(page.locator(".roster tr", { hasText: "Unmute" }).first().getByRole("button", { name: "Unmute" }));
  await keys.did("unmute", "Unmuted");
  await keys.confirm(page.locator('[data-dialog^="kick"]').first());
  await keys.did("kick", "Kicked");
  await keys.cancel(page.locator('[data-dialog="close"]'));
  await keys.confirm(page.locator('[data-dialog="close"]'));
  await keys.did("close a room", "Room closed");
}

/** Makes a tenant with a key and an issuer, and takes both away. */
async function setUp(keys) {
  const { page } = keys;
  await keys.visit("/tenants");
  await keys.press(page.locator("a.main"));
  await keys.type(page.locator("#name"), "<b>acme</b>");
  await keys.press(page.locator("button.main"));
  await keys.did("create a tenant", "Saved");
  assert.equal(await page.locator("h1 b").count(), 0, "a name is no markup");
  await look(page, "tenant");
  await keys.type(page.locator("#max_rooms"), "7");
  await keys.press(page.locator("button.main"));
  await keys.did("save a tenant", "Saved");
  assert.equal(await page.locator("#max_rooms").inputValue(), "7");

  await keys.press(page.getByText("Add an issuer"));
  await keys.type(page.locator("#issuer-name"), "Booking system");
  const { publicKey } = generateKeyPairSync("ed25519");
  await keys.type(page.locator("#issuer-key"), publicKey.export({ type: "spki", format: "pem" }));
  await keys.press(page.getByRole("button", { name: "Add issuer" }));
  await keys.did("add an issuer", "Issuer added");
  await keys.confirm(page.locator('[data-dialog="issuer-delete"]'));
  await keys.did("delete an issuer", "Issuer deleted");

  await keys.press(page.getByRole("link", { name: "Keys of the server" }));
  await keys.type(page.locator("#key-name"), "Booking system");
  await keys.check(page.getByLabel("Act on rooms"));
  await keys.press(page.locator("button.main"));
  await keys.did("create a key", "nuk_", "main");
  await keys.confirm(page.locator('[data-dialog="revoke"]'));
  await keys.did("revoke a key", "Key revoked");
}

/** Bans users of a tenant, lifts a ban, and forgets a user. */
async function actOnUsers(keys) {
  const { page } = keys;
  await keys.visit("/tenants");
  await keys.press(page.locator("a.main"));
  await keys.type(page.locator("#name"), "load");
  await keys.press(page.locator("button.main"));
  await keys.did("create a tenant", "Saved");

  await keys.visit("/rooms");
  await keys.press(page.locator("tbody th a").first());
  await keys.confirm(page.locator('[data-dialog="ban"]').first());
  await keys.did("ban from a room's roster", "User banned");
  await keys.visit("/bans");
  await until("the ban", async () => (await page.locator("tbody tr").count()) === 1);
  await look(page, "bans-one");
  await keys.confirm(page.locator('[data-dialog="lift"]'));
  await keys.did("lift a ban", "Ban lifted");
  await keys.choose(page.locator("#tenant"), "load");
  await keys.type(page.locator("#ban-user"), "mallory");
  await keys.type(page.locator("#ban-reason"), "<b>loud</b>");
  await keys.press(page.getByRole("button", { name: "Ban user" }));
  await keys.did("ban a user", "User banned");

  await keys.visit("/sessions");
  await keys.press(page.locator("tr", { hasText: "Left" }).locator("th a").first());
  await keys.confirm(page.locator('[data-dialog="ban"]'));
  await keys.did("ban from a session", "User banned");
  await keys.confirm(page.locator('[data-dialog="forget"]'));
  await keys.did("forget a user", "The user is forgotten");
}

async function actOnWebhook(keys) {
  const { page } = keys;
  const receiver = await startReceiver();
  await keys.visit("/webhooks");
  await keys.press(page.locator("a.main"));
  await keys.type(page.locator("#name"), "Booking system");
  await keys.type(page.locator("#url"), `http://127.0.0.1:${receiver.address().port}/`);
  await keys.check(page.getByLabel("room.started"));
  await keys.press(page.locator("button.main"));
  await keys.did("create a webhook", "The webhook is made", "main");
  await keys.press(page.getByRole("button", { name: "Send a test" }));
  await keys.did("test a webhook", "Test sent");
  await until("the receiver was told", () => told.length === 1);
  await keys.press(page.getByRole("button", { name: "Switch off" }));
  await keys.did("pause a webhook", "Webhook switched off");
  await keys.press(page.getByRole("button", { name: "Switch on" }));
  await keys.did("resume a webhook", "Webhook switched on");
  await keys.press(page.getByRole("button", { name: "Replay" }).first());
  await keys.did("replay a delivery", "Sent again");
  await until("the receiver was told again", () => told.length === 2);
  assert.equal(told[0], told[1], "the same event");
  await keys.confirm(page.locator('[data-dialog="delete"]'));
  await keys.did("delete a webhook", "Webhook deleted");
  receiver.close();
}

/** Makes somebody and changes them. Returns the other reader, a viewer. */
async function actOnPeople(keys) {
  const { page } = keys;
  await keys.visit("/people");
  await keys.type(page.locator("#email"), "vera@example.org");
  await keys.choose(page.locator("#role"), "operator");
  await keys.check(page.locator('[name="sees"][value="server"]'));
  await keys.press(page.locator("button.main"));
  await keys.did("create a person", "The link is made", "main");
  const viewer = await newReader();
  await setPassword(viewer, await page.locator(".verdict code").innerText());
  await keys.press(page.getByRole("link", { name: "vera@example.org" }));
  await keys.choose(page.locator("#role"), "viewer");
  await keys.press(page.locator("button.main"));
  await keys.did("change the role", "Saved");
  await keys.press(page.getByRole("button", { name: "Make a link" }));
  await keys.did("make a new link", "The link is made", "main");
  await setPassword(viewer, await page.locator(".verdict code").innerText());
  await signIn(viewer, "vera@example.org");
  await viewer.visit("/rooms");
  await viewer.press(viewer.page.locator("tbody th a").first());
  assert.equal(await viewer.page.locator("main form, main [data-dialog]").count(), 0, "a viewer acts upon nothing");
  await keys.visit("/people");
  await keys.press(page.getByRole("link", { name: "vera@example.org" }));
  signedOut.add(viewer.page);
  await keys.press(page.getByRole("button", { name: "End the session" }));
  await keys.did("end a session of somebody", "Session ended");
  await leadsToSignIn(viewer.page);
  await keys.press(page.getByRole("button", { name: "Disable" }));
  await keys.did("disable a person", "The person cannot sign in any more");
  await keys.press(page.getByRole("button", { name: "Enable" }));
  await keys.did("enable a person", "The person can sign in again");

  await keys.visit("/people");
  await keys.type(page.locator("#email"), "ben@example.org");
  await keys.check(page.locator('[name="sees"][value="server"]'));
  await keys.press(page.locator("button.main"));
  await keys.did("create a person", "The link is made", "main");
  await keys.press(page.getByRole("link", { name: "ben@example.org" }));
  await keys.confirm(page.locator('[data-dialog="delete"]'));
  await keys.did("delete a person", "Person deleted");
  return viewer;
}

/** The viewer sets up an authenticator; the administrator ends a session, and changes the password and the theme. */
async function actOnAccounts(keys, viewer) {
  const { page } = viewer;
  const toAccount = async ({ page }) => page.locator('#nav footer a[href="/account"]');
  await signIn(viewer, "vera@example.org");
  await viewer.press(await toAccount(viewer));
  await viewer.press(page.getByRole("button", { name: "Set up" }));
  await page.waitForURL(/totp=new/);
  const secret = (await page.locator("main .code code").innerText()).replaceAll(" ", "");
  const begun = Date.now();
  await viewer.type(page.locator("#code"), code(secret, begun));
  await viewer.press(page.getByRole("button", { name: "Switch on" }));
  await viewer.did("set up an authenticator", "A code is asked for");
  await signOut(viewer);
  // A code works once; the server takes that of the next half minute too.
  await signIn(viewer, "vera@example.org", PASSWORD, code(secret, begun + 30_000));
  viewer.done.push("sign in with a code");

  const other = await newReader();
  await signIn(other, EMAIL);
  await keys.press(await toAccount(keys));
  signedOut.add(other.page);
  await keys.press(keys.page.getByRole("button", { name: "End the session" }).first());
  await keys.did("end an own session", "Session ended");
  await leadsToSignIn(other.page);
  await keys.choose(keys.page.locator("#theme"), "dark");
  assert.equal(await keys.page.evaluate(() => document.documentElement.dataset.theme), "dark");
  await keys.choose(keys.page.locator("#theme"), "system");
  keys.done.push("change the theme");
  await keys.type(keys.page.locator("#old"), PASSWORD);
  await keys.type(keys.page.locator("#new"), NEW_PASSWORD);
  await keys.press(keys.page.getByRole("button", { name: "Change password" }));
  await keys.did("change the password", "The password is set", "main");
  await signIn(keys, EMAIL, NEW_PASSWORD);

  // Two codes were used: the third is that of a minute after the first, which counts half a minute early.
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, begun + 31_000 - Date.now())));
  await viewer.press(await toAccount(viewer));
  await viewer.type(page.locator("#off-p"), PASSWORD);
  await viewer.type(page.locator("#off-c"), code(secret, begun + 60_000));
  await viewer.press(page.getByRole("button", { name: "Switch off" }));
  await viewer.did("switch an authenticator off", "The authenticator is off");
}

let done = [];
try {
  done = await run();
} catch (error) {
  faults.push(error.stack);
} finally {
  await browser.close();
  for (const child of [...crowd, server]) child.kill("SIGKILL");
  rmSync(directory, { recursive: true, force: true });
}
for (const fault of faults) process.stdout.write(`FAIL ${fault}\n`);
if (!faults.length) {
  process.stdout.write(`the dashboard: ${SCREENS.length + 4} screens and an operator's acts are as they should be\n`);
  process.stdout.write(`${done.length} actions by keyboard: ${[...new Set(done)].join(", ")}\n`);
}
process.exit(faults.length ? 1 : 0);
