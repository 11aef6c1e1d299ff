// The dashboard's pages in Chromium, in both themes, on a phone and a desktop.
//
//     node .ci/console.mjs DIR [--shots DIR] [--data designed|hostile|empty] [--only NAME]
//
// DIR is what `cargo run -p nucleus-console --example preview -- DIR` has written. The script serves it with
// the policy of the server, and checks each page: no finding of axe, no violation of the policy, no error
// of a script, nothing that scrolls the page sideways, Tab reaches every control, and the live parts and
// dialogs work. Needs `npm ci` in sdk/web.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, readdirSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";

const require = createRequire(new URL("../sdk/web/package.json", import.meta.url));
const { chromium } = require("playwright-core");
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const WIDTHS = [360, 1280];
const THEMES = ["light", "dark"];
/** Most presses of Tab on a page: the list of rooms has some 130 controls. */
const MAX_TABS = 400;
/** Longest time in ms for two events of a stream, on a busy machine. */
const LIVE_MS = 10_000;
/** What axe must hold: WCAG 2.2 AA, and its best practices. */
const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const TYPES = { html: "text/html; charset=utf-8", css: "text/css", js: "text/javascript", txt: "text/plain" };

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { shots: { type: "string" }, only: { type: "string" }, data: { type: "string" } },
});
const [directory] = positionals;
if (!directory) {
  process.stderr.write("usage: console.mjs DIR [--shots DIR] [--data designed|hostile|empty] [--only NAME]\n");
  process.exit(2);
}
const policy = readFileSync(join(directory, "policy.txt"), "utf8");

/** Sends the live part of a page twice, as server-sent events. */
function stream(page, response) {
  const file = join(directory, "live", page);
  if (!existsSync(file)) {
    response.writeHead(404).end();
    return;
  }
  const html = readFileSync(file, "utf8");
  // A mark shows that the event has arrived.
  const event = (number) =>
    `${`${html}<i hidden data-event="${number}"></i>`.split("\n").map((line) => `data: ${line}\n`).join("")}\n`;
  response.writeHead(200, { "content-type": "text/event-stream", "content-security-policy": policy });
  response.write(event(1));
  const timer = setTimeout(() => response.write(event(2)), 200);
  response.on("close", () => clearTimeout(timer));
}

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url ?? "/", "http://localhost");
  if (pathname.startsWith("/live/")) {
    // The page that asks: `/designed/overview.html` and others.
    stream(new URL(request.headers.referer ?? root).pathname, response);
    return;
  }
  const file = join(directory, decodeURIComponent(pathname));
  if (pathname.includes("..") || !existsSync(file) || pathname.endsWith("/")) {
    response.writeHead(404, { "content-security-policy": policy }).end();
    return;
  }
  const type = TYPES[file.split(".").pop()] ?? "application/octet-stream";
  // A report is a file: its policy stands in it.
  const header = pathname.startsWith("/reports/") ? {} : { "content-security-policy": policy };
  response.writeHead(200, { "content-type": type, ...header });
  response.end(readFileSync(file));
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const root = `http://127.0.0.1:${server.address().port}`;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
});

const faults = [];
let checks = 0;

/** Runs in a page: what is wider than the window, the widest first. */
function sideways() {
  const room = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= room) return [];
  const isClipped = (e) => e.parentElement?.closest(".scroll, .seg, .cut, .flush, svg") !== null;
  return [...document.querySelectorAll("body *")]
    .filter((e) => e.getBoundingClientRect().right > room + 1 && !isClipped(e))
    .slice(0, 3)
    .map((e) => `${e.tagName} ${e.className} ${Math.round(e.getBoundingClientRect().right)} px`);
}

/** Runs in a page: parts whose content is cut although nothing scrolls there. */
function cut() {
  const room = document.documentElement.clientWidth;
  const parts = document.querySelectorAll(".panel, .tile, .verdict, dialog[open], .top, th, td, .btn, .badge");
  return [...parts]
    .filter((e) => e.checkVisibility() && !e.closest(".scroll, .side"))
    .filter((e) => e.scrollWidth > e.clientWidth + 1 || e.getBoundingClientRect().right > room + 1)
    .filter((e) => getComputedStyle(e).display !== "inline" && e.clientWidth > 0)
    .slice(0, 3)
    .map((e) => `${e.tagName}.${e.className} ${e.scrollWidth} in ${e.clientWidth}: ${e.textContent.trim().slice(0, 40)}`);
}

/** Presses Tab until the focus has gone around. Returns the controls that it has not reached. */
async function unreached(page) {
  await page.evaluate(() => {
    globalThis.reached = new Set();
    document.addEventListener("focusin", (e) => globalThis.reached.add(e.target));
    document.activeElement?.blur();
  });
  let left = [];
  for (let pressed = 0; pressed < MAX_TABS; pressed += 20) {
    for (let press = 0; press < 20; press += 1) await page.keyboard.press("Tab");
    left = await page.evaluate(() => {
      const controls = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']";
      return [...document.querySelectorAll(controls)]
        .filter((e) => !e.disabled && !e.closest("fieldset[disabled]") && e.checkVisibility())
        .filter((e) => !globalThis.reached.has(e))
        // Of a group of radio buttons Tab reaches one, and the arrow keys the others.
        .filter((e) => e.type !== "radio" || ![...globalThis.reached].some((r) => r.type === "radio" && r.name === e.name && r.form === e.form))
        .map((e) => `${e.tagName} ${e.textContent.trim().slice(0, 30)}`);
    });
    if (left.length === 0) break;
  }
  return left;
}

async function checkAxe(page, say) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate((tags) => globalThis.axe.run({ runOnly: tags }), TAGS);
  for (const { id, nodes } of violations) {
    say(`axe ${id}: ${nodes.slice(0, 2).map((node) => node.html.slice(0, 160)).join(" | ")}`);
  }
}

/** Opens each dialog by its button, checks it, and closes it with Escape. */
async function checkDialogs(page, say, shoot) {
  const ids = await page.evaluate(() => [
    ...new Set([...document.querySelectorAll("[data-dialog]")].filter((e) => e.checkVisibility()).map((e) => e.dataset.dialog)),
  ]);
  for (const id of ids) {
    const button = page.locator(`[data-dialog="${id}"]:visible`).first();
    await button.focus();
    await page.keyboard.press("Enter");
    const state = await page.evaluate((name) => {
      const dialog = document.getElementById(name);
      return { open: dialog.open, focus: document.activeElement?.textContent, action: dialog.querySelector("form").action };
    }, id);
    if (!state.open) say(`the dialog ${id} does not open`);
    if (state.focus !== "Cancel") say(`the focus of ${id} is on ${state.focus}`);
    if (id.startsWith("kick") && !state.action.endsWith("/kick")) say(`the dialog ${id} sends to ${state.action}`);
    await checkAxe(page, (words) => say(`dialog ${id}: ${words}`));
    for (const words of await page.evaluate(cut)) say(`dialog ${id}: cut ${words}`);
    await shoot(`-${id}`);
    await page.keyboard.press("Escape");
    if (await page.evaluate((name) => document.getElementById(name).open, id)) say(`the dialog ${id} stays open`);
  }
}

async function checkPage(context, kind, name, width, theme) {
  const page = await context.newPage();
  const say = (words) => faults.push(`${kind}/${name} ${width} ${theme}: ${words}`);
  page.on("pageerror", (error) => say(`script: ${error.message}`));
  page.on("console", (message) => {
    const text = message.text();
    // The preview has no charts to fetch, and no live part of some pages.
    const isAbsent = text.includes("404") && /\/(charts|live)\//.test(message.location().url);
    if (message.type() === "error" && !isAbsent) say(`console: ${text}`);
  });
  await page.addInitScript(() => {
    globalThis.violations = [];
    globalThis.alert = () => {
      globalThis.alerted = true;
    };
    document.addEventListener("securitypolicyviolation", (e) => globalThis.violations.push(`${e.effectiveDirective} ${e.sourceFile}`));
  });
  const shoot = async (more = "") => {
    if (values.shots) {
      const size = width < 600 ? "phone" : "desktop";
      await page.screenshot({ path: join(values.shots, `${kind.replace("/", "-")}-${name}${more}-${size}-${theme}.png`), fullPage: more === "" });
    }
  };
  await page.goto(`${root}/${kind}/${name}.html`, { waitUntil: "load" });
  const isLive = await page.evaluate(() => document.querySelector("[hx-sse\\:connect]") !== null);
  const hasPart = existsSync(join(directory, "live", kind, `${name}.html`));
  if (isLive && hasPart) {
    const focused = await page.evaluate(() => {
      const control = document.querySelector("#live a[href], #live button");
      control?.focus();
      return control !== null;
    });
    const second = page.locator('[data-event="2"]');
    await second.waitFor({ state: "attached", timeout: LIVE_MS }).catch(() => say("no live part arrives"));
    const after = await page.evaluate(() => ({
      utc: [...document.querySelectorAll("time")].filter((t) => !t.title).length,
      gone: [...document.querySelectorAll(".plot")].filter((plot) => !plot.querySelector("canvas")).length,
    }));
    const kept = await page.evaluate(() => document.activeElement?.closest("#live") !== null);
    if (focused && !kept) say("the focus is lost after a live part");
    if (after.utc > 0) say(`${after.utc} times are UTC after a live part`);
    if (after.gone > 0) say(`${after.gone} charts are gone after a live part`);
  }
  const [data, isReport] = [basename(kind), kind.startsWith("reports/")];
  if (data === "designed" && theme === "light" && (await page.locator("#theme").isVisible())) {
    await page.selectOption("#theme", "dark");
    const { theme: now, cookie } = await page.evaluate(() => ({ theme: document.documentElement.dataset.theme, cookie: document.cookie }));
    if (now !== "dark" || cookie.includes("nucleus-theme=dark") === isReport) say(`the theme is ${now}, the cookie ${cookie}`);
    await page.selectOption("#theme", "system");
  }
  await checkAxe(page, say);
  for (const words of await page.evaluate(sideways)) say(`scrolls sideways: ${words}`);
  for (const words of await page.evaluate(cut)) say(`cut: ${words}`);
  await shoot();
  if (theme === "light") {
    // Names change neither the order of controls nor what dialogs do.
    if (data === "designed") for (const words of await unreached(page)) say(`Tab does not reach ${words}`);
    if (data !== "empty") await checkDialogs(page, say, shoot);
  }
  if (width < 600 && theme === "light" && (await page.locator(".top").count()) > 0) {
    await page.locator(".top .btn").click();
    if (!(await page.locator("#nav").isVisible())) say("the menu does not open");
    await checkAxe(page, (words) => say(`menu: ${words}`));
    await page.keyboard.press("Escape");
  }
  for (const words of await page.evaluate(() => globalThis.violations)) say(`policy: ${words}`);
  if (await page.evaluate(() => typeof globalThis.alerted !== "undefined")) say("a name ran as a script");
  checks += 1;
  await page.close();
}

async function checkPages(kind, names, width, theme) {
  const context = await browser.newContext({
    viewport: { width, height: width < 600 ? 740 : 800 },
    colorScheme: theme,
    hasTouch: width < 600,
    timezoneId: "Asia/Tokyo",
    reducedMotion: "reduce",
  });
  for (const name of names.filter((one) => !values.only || one === values.only)) {
    await checkPage(context, kind, name, width, theme);
  }
  await context.close();
}

if (values.shots) mkdirSync(values.shots, { recursive: true });
const kinds = values.data ? [values.data] : ["designed", "hostile", "empty"];
for (const kind of kinds.flatMap((data) => [data, `reports/${data}`])) {
  const names = readdirSync(join(directory, kind)).map((file) => basename(file, ".html")).sort();
  await Promise.all(WIDTHS.flatMap((width) => THEMES.map((theme) => checkPages(kind, names, width, theme))));
}
await browser.close();
server.close();
server.closeAllConnections();
process.stdout.write(`${faults.join("\n")}${faults.length ? "\n" : ""}${checks} pages, ${faults.length} faults\n`);
assert.ok(checks > 0, "no page was checked");
process.exit(faults.length ? 1 : 0);
