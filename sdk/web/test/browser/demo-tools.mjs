// What the test of the demo page does with a tab: waits, looks, and finds places in the plan.
import assert from "node:assert/strict";

/** Longest time for anything to happen that takes a few round trips, in ms. */
export const SOON_MS = 15_000;
/** Longest time for a client to notice that its server is gone, and to come back, in ms. */
export const HEAL_MS = 60_000;
/** Pixels of the plan by which two tabs may differ about a place. */
const NEAR = 12;

/** What went wrong in the tabs. */
export const errors = [];
/** While the server is down, failed requests are no errors of the page. */
export const server = { isDown: false };

/** Opens the demo in a tab, and collects what goes wrong in it. */
export async function open(context, url, name) {
  const page = await context.newPage();
  watch(page, name);
  await page.goto(url);
  return page;
}

export function watch(page, name) {
  page.on("pageerror", (error) => errors.push(`${name}: ${error.message}`));
  page.on("console", (message) => {
    const isNetwork = /net::|WebTransport/.test(message.text());
    if (message.type() === "error" && !(server.isDown && isNetwork)) {
      errors.push(`${name}: ${message.text()}`);
    }
  });
}

export const text = (page, selector) => page.locator(selector).innerText();

/** Waits until a function returns true. Says what was awaited if it does not. */
export async function until(what, isTrue, timeout = SOON_MS) {
  const end = Date.now() + timeout;
  for (;;) {
    if (await isTrue()) {
      return;
    }
    assert.ok(Date.now() < end, `not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export const connected = (page, timeout) =>
  until("the badge says Connected", async () => /^Connected/.test(await text(page, "#connection")), timeout);

/** Returns where the plan draws an element, in pixels of the plan. */
export function placeOf(page, selector) {
  return page.evaluate((found) => {
    const place = document.querySelector(found)?.getAttribute("transform");
    const numbers = /translate\(([-\d.]+) ([-\d.]+)\)/.exec(place ?? "");
    return numbers ? [Number(numbers[1]), Number(numbers[2])] : undefined;
  }, selector);
}

export const isNear = (a, b) => Boolean(a && b) && Math.hypot(a[0] - b[0], a[1] - b[1]) <= NEAR;

/** Converts a place of the plan to the coordinates of the mouse. */
export function toScreen(page, x, y) {
  return page.evaluate(
    ([left, top]) => {
      const plan = document.querySelector("#plan");
      const point = new DOMPoint(left, top).matrixTransform(plan.getScreenCTM());
      return [point.x, point.y];
    },
    [x, y],
  );
}

export const lines = (page) => page.locator("#log p").allInnerTexts();
export const hasLine = async (page, wanted) => (await lines(page)).some((line) => line.includes(wanted));
/** Compares what a person sees, without the characters that isolate a name's direction. */
export const plain = (value) => value.replace(/[\u2066-\u2069]/g, "");

export async function say(page, words) {
  await page.fill("#say", words);
  await page.press("#say", "Enter");
}
