// The dashboard of a running server, in Chromium: signing in from the link in the log, every screen with real
// content, and what an operator does.
//
//     node .ci/dashboard.mjs NUCLEUS LOADGEN [--shots DIR]
//
// Checks each screen in both themes, on a phone and a desktop: no finding of axe, no violation of the policy, no
// error of a script, nothing that scrolls the page sideways. Needs `npm ci` in sdk/web.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

const require = createRequire(new URL("../sdk/web/package.json", import.meta.url));
const { chromium } = require("playwright-core");
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const EMAIL = "ada@example.org";
const PASSWORD = "a long sentence for a test";
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

/** Opens a tab, and collects what goes wrong in it. */
async function open(context) {
  const page = await context.newPage();
  const say = (words) => faults.push(`${page.url()}: ${words}`);
  page.on("pageerror", (error) => say(`script: ${error.message}`));
  page.on("console", (message) => message.type() === "error" && say(`console: ${message.text()}`));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (e) => console.error(`policy: ${e.effectiveDirective}`));
  });
  return page;
}

async function signIn(page, email) {
  await page.goto(`${base}/signin`);
  await page.fill("#email", email);
  await page.fill("#password", PASSWORD);
  await page.click("button.main");
  await page.waitForURL(`${base}/`);
}

async function setPassword(page, link) {
  await page.goto(link);
  if (await page.locator("#email").count()) await page.fill("#email", EMAIL);
  await page.fill("#password", PASSWORD);
  await page.click("button.main");
  await page.waitForURL(/\/signin\?done=password/);
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

async function run() {
  await until("the link in the log", () => /\/link\?token=\S+/.test(log));
  const context = await browser.newContext({ viewport: SIZES[1][1] });
  const page = await open(context);
  await setPassword(page, /http:\S+\/link\?token=[\w-]+/.exec(log)[0]);
  await signIn(page, EMAIL);
  await until("the first steps", async () => /Nobody has joined yet/.test(await page.locator("main").innerText()));
  await look(page, "first-run");

  const visitors = headsets("--duration", "4s");
  await new Promise((resolve) => visitors.on("exit", resolve));
  headsets("--duration", "600s");
  await page.goto(`${base}/rooms`);
  await until("two rooms, live", async () => (await page.locator("tbody tr").count()) === 2);
  for (const [name, path] of SCREENS) {
    await page.goto(base + path);
    await look(page, name);
  }

  await page.goto(`${base}/sessions`);
  await page.locator("tr", { hasText: "Left" }).locator("th a").first().click();
  await until("the verdict", async () => (await page.locator(".verdict").count()) === 1);
  await look(page, "session");

  await page.goto(`${base}/rooms`);
  await page.locator("tbody th a").first().click();
  await until("six heads in the plan", async () => (await page.locator("svg.plan .head").count()) >= 6);
  await look(page, "room");
  await page.getByRole("button", { name: "Lock" }).click();
  await until("locked", async () => /Room locked/.test(await page.locator(".toasts").innerText()));
  await page.getByRole("button", { name: "Unlock" }).click();
  await page.locator("tbody tr", { hasText: "Mute" }).first().getByRole("button", { name: "Mute" }).click();
  await until("muted", async () => (await page.locator(".roster .badge", { hasText: "Muted" }).count()) === 1);
  // Kick by keyboard alone.
  await page.locator('[data-dialog="kick"]').first().focus();
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await until("kicked", async () => /Kicked/.test(await page.locator(".toasts").innerText()));

  await page.goto(`${base}/tenants/new`);
  await page.fill("#name", "<b>acme</b>");
  await page.click("button.main");
  await until("saved", async () => /Saved/.test(await page.locator(".toasts").innerText()));
  assert.equal(await page.locator("h1 b").count(), 0, "a name is no markup");
  await look(page, "tenant");
  await page.goto(`${base}/keys`);
  await page.fill("#key-name", "Booking system");
  await page.click("button.main");
  await until("a key", async () => /nuk_/.test(await page.locator("main").innerText()));

  await page.goto(`${base}/people`);
  await page.fill("#email", "vera@example.org");
  await page.selectOption("#role", "viewer");
  await page.click("button.main");
  const link = await page.locator(".verdict code").innerText();
  const viewer = await open(await browser.newContext({ viewport: SIZES[1][1] }));
  await setPassword(viewer, link);
  await signIn(viewer, "vera@example.org");
  await viewer.goto(`${base}/rooms`);
  await viewer.locator("tbody th a").first().click();
  assert.equal(await viewer.locator("main form, main [data-dialog]").count(), 0, "a viewer acts upon nothing");

  await page.goto(`${base}/audit`);
  const audit = await page.locator("main").innerText();
  for (const act of ["room.lock", "peer.mute", "peer.kick", "tenant.create", "key.create", "person.create"]) {
    assert.ok(audit.includes(act), `the audit lacks ${act}: ${audit.slice(0, 600)}`);
  }
  await page.getByRole("button", { name: "Sign out" }).click();
  await until("signed out", async () => /You are signed out/.test(await page.locator("main").innerText()));
  await page.goto(`${base}/rooms`);
  assert.match(page.url(), /\/signin\?next=/);
}

try {
  await run();
} catch (error) {
  faults.push(error.stack);
} finally {
  await browser.close();
  for (const child of [...crowd, server]) child.kill("SIGKILL");
  rmSync(directory, { recursive: true, force: true });
}
for (const fault of faults) process.stdout.write(`FAIL ${fault}\n`);
process.stdout.write(faults.length ? "" : `the dashboard: ${SCREENS.length + 4} screens and an operator's acts are as they should be\n`);
process.exit(faults.length ? 1 : 0);
