// Somebody who uses a page without a mouse: Tab, Shift+Tab, Enter, Space and typing. Nothing is clicked, and no
// script moves the focus.
import assert from "node:assert/strict";

/** Most keys for one way through a page. */
const MOST_STEPS = 400;

export class Keyboard {
  /** `say` takes what is wrong. */
  constructor(page, say) {
    this.page = page;
    this.say = say;
    /** What was done, in words. */
    this.done = [];
  }

  /** Moves the focus to an element, as a reader does who sees where the focus is. */
  async reach(locator) {
    await locator.waitFor({ state: "visible" });
    for (let step = 0; step < MOST_STEPS; step++) {
      const way = await locator.evaluate((target) => {
        const active = document.activeElement;
        if (active === target) return "here";
        // Without a focus, Tab goes to the first element.
        if (!active || active === document.body) return "Tab";
        const isBefore = active.compareDocumentPosition(target) & Node.DOCUMENT_POSITION_PRECEDING;
        return isBefore ? "Shift+Tab" : "Tab";
      });
      if (way === "here") return this.#look(locator);
      await this.page.keyboard.press(way);
    }
    assert.fail(`no way by keyboard to ${locator} on ${this.page.url()}`);
  }

  /** Checks that the focus is seen: it is marked, and in the window. */
  async #look(locator) {
    const [isMarked, isInWindow] = await locator.evaluate((element) => {
      const style = getComputedStyle(element);
      const hasOutline = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
      const { left, right, top, bottom } = element.getBoundingClientRect();
      const isInWindow = bottom > 0 && right > 0 && top < innerHeight && left < innerWidth;
      return [element.matches(":focus-visible") && hasOutline, isInWindow];
    });
    if (!isMarked) this.say(`${this.page.url()}: the focus on ${locator} is not seen`);
    if (!isInWindow) this.say(`${this.page.url()}: the focus on ${locator} is outside the window`);
  }

  /** Presses a button, or follows a link. */
  async press(locator) {
    await this.reach(locator);
    await this.page.keyboard.press("Enter");
  }

  /** Writes a text into a field, in place of what it has. */
  async type(locator, text) {
    await this.reach(locator);
    await this.page.keyboard.press("Control+A");
    await this.page.keyboard.type(text);
  }

  /** Switches a check box. */
  async check(locator) {
    await this.reach(locator);
    await this.page.keyboard.press("Space");
  }

  /** Chooses an entry of a list by its value. */
  async choose(locator, value) {
    await this.reach(locator);
    await this.page.keyboard.press("Home");
    for (let step = 0; (await locator.inputValue()) !== value; step++) {
      assert.ok(step < MOST_STEPS, `${locator} has no ${value}`);
      await this.page.keyboard.press("ArrowDown");
    }
  }

  /** Opens a dialog, whose focus begins where Enter destroys nothing. */
  async #ask(opener) {
    await this.press(opener);
    const dialog = this.page.locator("dialog[open]");
    await dialog.waitFor();
    const words = await this.page.evaluate(() => document.activeElement.textContent);
    assert.equal(words, "Cancel", "the focus of a dialog begins on Cancel");
    return dialog;
  }

  /** Opens a dialog, and says yes. */
  async confirm(opener) {
    const dialog = await this.#ask(opener);
    await this.press(dialog.locator("button.danger, button.main"));
  }

  /** Opens a dialog and leaves it, once by the button and once by Escape. The focus comes back each time. */
  async cancel(opener) {
    for (const key of ["Enter", "Escape"]) {
      const dialog = await this.#ask(opener);
      await this.page.keyboard.press(key);
      await dialog.waitFor({ state: "detached" });
      const isBack = await opener.evaluate((element) => document.activeElement === element);
      assert.ok(isBack, `the focus is not back on ${opener} after ${key}`);
    }
    this.done.push("cancel");
  }

  /** Goes to a screen by the menu. */
  async visit(path) {
    await this.press(this.page.locator(`#nav li a[href="${path}"]`));
    await this.page.waitForURL((url) => url.pathname === path);
  }

  /** Notes that an action was done, once its words stand on the page. */
  async did(action, words, where = ".toasts") {
    const place = this.page.locator(where);
    await place.filter({ hasText: words }).first().waitFor({ timeout: 20_000 }).catch(() => {
      assert.fail(`${action}: no "${words}" in ${where} of ${this.page.url()}`);
    });
    this.done.push(action);
  }
}
