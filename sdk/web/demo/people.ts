/** The list of who is in the room. */

import type { Peer } from "../src/index.js";
import { byId, html, nameElement, setText } from "./page.js";

/** Rows that the list shows. */
const MOST_ROWS = 50;

/** What the list shows besides the roster. */
export interface Company {
  me: Peer | undefined;
  others: readonly Peer[];
  speaking: ReadonlySet<number>;
  isMicOn: boolean;
  holder: number | undefined;
  /** Returns the class of a peer's colour. */
  colourOf: (peer: number) => string;
}

/** Returns the class and the word of a person's badge. */
function stateOf(peer: Peer, isMe: boolean, { speaking, isMicOn }: Company): [string, string] {
  if (peer.away) {
    return ["warn", "Away"];
  }
  if (peer.muted) {
    return ["idle", "Muted by a moderator"];
  }
  if (speaking.has(peer.id)) {
    return ["info", "Speaking"];
  }
  if (isMe) {
    return isMicOn ? ["good", "Unmuted"] : ["idle", "Muted"];
  }
  return peer.selfMuted ? ["idle", "Muted"] : ["idle", "Silent"];
}

function row(peer: Peer, isMe: boolean, company: Company): HTMLLIElement {
  const [kind, word] = stateOf(peer, isMe, company);
  const who = html("span");
  const name = html("b");
  name.append(isMe ? "You" : nameElement(peer.name, "cut"));
  who.append(html("i", `dot ${isMe ? "me" : company.colourOf(peer.id)}`), name);
  const remarks = [isMe ? `${peer.name}, this tab` : "", company.holder === peer.id ? "holds the cube" : ""];
  const remark = remarks.filter(Boolean).join(", ");
  if (remark) {
    who.append(" ", html("span", "muted", remark));
  }
  const item = html("li");
  item.append(who, html("span", `badge ${kind}`, word));
  return item;
}

/** Shows the list. */
export function showPeople(company: Company): void {
  const { me, others } = company;
  const count = others.length + (me ? 1 : 0);
  setText(byId("count"), count === 0 ? "Nobody" : count === 1 ? "1 person" : `${count} people`);
  const rows = others.slice(0, MOST_ROWS).map((peer) => row(peer, false, company));
  if (me) {
    rows.unshift(row(me, true, company));
  }
  if (others.length > MOST_ROWS) {
    const rest = html("li", "muted", `and ${others.length - MOST_ROWS} more`);
    rows.push(rest);
  }
  byId("people").replaceChildren(...rows);
}
