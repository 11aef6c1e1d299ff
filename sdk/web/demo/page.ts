/** Small helpers for the document. Texts of others reach it only as text, never as markup. */

/** Longest label in the plan, in characters as a person counts them. */
const LABEL_CHARACTERS = 20;
/** A name has at most 128 bytes. So this many units of it are all that a label can need. */
const NAME_UNITS = 256;
/** How long a message stays on the screen, in ms. */
const TOAST_MS = 9_000;
/** More messages at a time would cover the page. */
const MOST_TOASTS = 3;

const SVG = "http://www.w3.org/2000/svg";
const graphemes = new Intl.Segmenter();

/** Returns the element of index.html with this id. */
export function byId<T extends Element = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) {
    throw new Error(`the page has no element "${id}"`);
  }
  return found as unknown as T;
}

/** Makes an element of HTML with a text. */
export function html<K extends keyof HTMLElementTagNameMap>(
  name: K,
  className = "",
  text = "",
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

/** Makes an element of SVG. */
export function svg(name: string, attributes: Record<string, string | number>): SVGElement {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, String(value));
  }
  return made;
}

/** Makes an element with the name of a person, which cannot change the direction of its surroundings. */
export function nameElement(name: string, className = ""): HTMLElement {
  return html("bdi", className, name);
}

/** Shortens a name to what fits a label, without cutting a character in two. */
export function short(name: string): string {
  let [out, count] = ["", 0];
  for (const { segment } of graphemes.segment(name.slice(0, NAME_UNITS))) {
    if (count === LABEL_CHARACTERS) {
      return `${out}…`;
    }
    out += segment;
    count += 1;
  }
  return out;
}

/** Puts a short name into a text, so that its direction of writing stays its own. */
export function isolated(name: string): string {
  return `\u2068${short(name)}\u2069`;
}

/** Sets a text only if it differs: an unchanged one is not announced again. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

/** Sets an attribute only if it differs. */
export function setAttribute(element: Element, name: string, value: string): void {
  if (element.getAttribute(name) !== value) {
    element.setAttribute(name, value);
  }
}

/** What a message is about. A newer one takes the place of an older one about the same. */
export type Topic = "link" | "social" | "call" | "microphone" | "speaker";

const newest = new Map<Topic, Element>();

/** Removes the message about this, because its reason is gone. */
export function settle(topic: Topic): void {
  newest.get(topic)?.remove();
  newest.delete(topic);
}

/** Returns whether the person is selecting the text of an element, for example to copy it. */
function isSelected(element: Element): boolean {
  const selection = getSelection();
  return selection?.isCollapsed === false && selection.containsNode(element, true);
}

/**
 * Shows a message above the others until its reason is gone or there are too many, but for a while at
 * most. This while does not end for one whose text is selected.
 */
export function toast(topic: Topic, text: string): void {
  const box = byId("toasts");
  const made = html("div", "toast", text);
  settle(topic);
  newest.set(topic, made);
  box.prepend(made);
  box.scrollTop = 0;
  while (box.childElementCount > MOST_TOASTS) {
    box.lastElementChild?.remove();
  }
  const end = () => void (isSelected(made) ? setTimeout(end, TOAST_MS) : made.remove());
  setTimeout(end, TOAST_MS);
}
