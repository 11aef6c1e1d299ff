// Tests of the demo page: the colours of many people, the places of messages, and names in a call.
import assert from "node:assert/strict";
import { guestScript } from "./demo-setup.mjs";
import { connected, open, plain, server as state, text, until } from "./demo-tools.mjs";

/** As many others as the page has colours, with the second tab. */
const GUESTS = 7;
/** How long the page shows a message whose reason stays, in ms: `TOAST_MS` of demo/page.ts. */
const TOAST_MS = 9_000;

/** Many people of another client come in: each has a colour of its own, in the plan and in the list. */
export async function colours(browser, url, one) {
  const guests = await browser.newContext({ bypassCSP: true });
  const guest = await guests.newPage();
  await guest.goto(`${url}/demo/demo.css`);
  await guest.evaluate(await guestScript());
  await guest.evaluate(async (count) => {
    const options = { method: "POST", headers: { "content-type": "application/json" } };
    globalThis.rooms = [];
    for (let i = 0; i < count; i += 1) {
      const name = `Guest ${i}`;
      const body = JSON.stringify({ user: `guest-${i}`, name });
      const answer = await (await fetch("/demo/token", { ...options, body })).json();
      globalThis.rooms.push(await nucleus.connect({ ...answer, room: "demo", name }));
    }
    setInterval(() => {
      globalThis.rooms.forEach((room, i) => {
        room.poll();
        room.sendPose({ head: { position: [i - 3, 1.65, -1], rotation: [0, 0, 0, 1] } });
      });
    }, 33);
  }, GUESTS);
  const others = GUESTS + 1;
  await until("all heads", async () => (await one.locator(".peer:not(.me)").count()) === others);
  await until("the end of the log", () =>
    one.locator("#log").evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight < 5),
  );
  const fills = (selector, property) =>
    one.$$eval(selector, (all, name) => all.map((each) => getComputedStyle(each)[name]), property);
  const heads = await fills("#heads .peer .head", "fill");
  assert.equal(new Set(heads).size, others + 1, `each has a colour: ${heads.join(", ")}`);
  const dots = await fills("#people .dot", "backgroundColor");
  assert.deepEqual([...dots].sort(), [...heads].sort(), "the list has the same colours");
  return {
    async leave() {
      await guest.evaluate(() => Promise.all(globalThis.rooms.map((room) => room.leave())));
      await guests.close();
    },
  };
}

/** Returns whether a message covers a part of an element. */
function covers(page, selector) {
  return page.evaluate((selector) => {
    const other = document.querySelector(selector).getBoundingClientRect();
    const box = document.querySelector("#toasts").getBoundingClientRect();
    return [...document.querySelectorAll(".toast")].some((toast) => {
      const { left, right, ...shown } = toast.getBoundingClientRect().toJSON();
      // The box cuts off what does not fit.
      const [top, bottom] = [Math.max(shown.top, box.top), Math.min(shown.bottom, box.bottom)];
      return left < other.right && right > other.left && top < other.bottom && bottom > other.top;
    });
  }, selector);
}

/** Returns whether a person sees the newest message, and can select its text. */
function isInReach(page) {
  return page.evaluate(() => {
    const toast = document.querySelector(".toast");
    const { left, right, top } = toast.getBoundingClientRect();
    return document.elementFromPoint((left + right) / 2, top + 20) === toast;
  });
}

/**
 * Messages stand beside the chat, and not longer than their reason. On a phone, where the page
 * scrolls, they are seen everywhere, and do not cover what a person writes.
 */
export async function messages(context, url) {
  state.isDown = true;
  const page = await context.newPage();
  // Here such a message stays for minutes: only the end of its reason takes it away.
  await page.addInitScript((toastMs) => {
    const start = globalThis.setTimeout;
    globalThis.setTimeout = (act, ms, ...rest) =>
      start(act, ms === toastMs ? 600_000 : ms, ...rest);
  }, TOAST_MS);
  await page.route("**/demo/token", (route) => route.abort());
  await page.goto(`${url}/demo#room=messages`);
  await until("a message", async () => /Nobody can call you/.test(await text(page, "#toasts")));
  // As long as the texts of errors become.
  await page.locator("#toasts").evaluate((box) => {
    const long = () => Object.assign(document.createElement("div"), { className: "toast", textContent: "word ".repeat(60) });
    box.append(long(), long());
  });
  for (const [width, height, ...free] of [
    [1280, 740, ".chat", "#copy"],
    [360, 740, "#form", "#copy"],
    [360, 480, "#form", "#copy"],
  ]) {
    await page.setViewportSize({ width, height });
    for (const id of ["copy", "main", "say"]) {
      await page.locator(`#${id}`).evaluate((element) => element.scrollIntoView());
      for (const each of free.filter((each) => each !== "#copy" || id === "copy")) {
        assert.equal(await covers(page, each), false, `${each} at ${width} x ${height} px`);
      }
      assert.equal(await isInReach(page), true, `scrolled to ${id} at ${width} x ${height} px`);
    }
  }
  await page.$$eval(".toast", (all) => all.slice(1).forEach((each) => each.remove()));
  await page.unroute("**/demo/token");
  await connected(page);
  await until("no message", async () => (await page.locator(".toast").count()) === 0);
  await page.click("#leave");
  await page.close();
  state.isDown = false;
}

/** One of two in a call loads its page again: no badge ever shows a user id. */
export async function reloadInCall(one, two) {
  await until("somebody to call", async () => plain(await text(one, "#call")) === "Call Visitor 2");
  await one.click("#call");
  await two.waitForSelector("#ring[open]");
  await two.click("#accept");
  for (const page of [one, two]) {
    // A tab that is loaded again while it still leaves the demo room would stay there as away.
    await until("the call's room", async () => (await text(page, "#title")) === "A call");
    await until("two people", async () => (await text(page, "#count")) === "2 people");
  }
  for (const page of [two, one]) {
    await page.addInitScript(() => {
      globalThis.badges = [];
      const note = () => {
        const badge = document.querySelector("#in-call");
        if (badge && !badge.hidden && globalThis.badges.at(-1) !== badge.textContent) {
          globalThis.badges.push(badge.textContent);
        }
        requestAnimationFrame(note);
      };
      note();
    });
    await page.reload();
    await connected(page);
    await page.waitForTimeout(1_500);
    const badges = (await page.evaluate(() => globalThis.badges)).map(plain);
    assert.ok(!badges.some((badge) => /visitor-/.test(badge)), badges.join(", "));
  }
  await until("the call", async () => plain(await text(one, "#in-call")) === "In a call with Visitor 2");
  await one.click("#call");
  for (const page of [one, two]) {
    await until("the demo room", async () => (await text(page, "#title")) === "Demo room");
    await until("two people", async () => (await text(page, "#count")) === "2 people");
    await until("no badge", async () => !(await page.isVisible("#in-call")));
  }
}
