/** How a client in a room reports changes of the roster and the state to its application. */

import type { StateChange } from "../state/change.js";
import { codeName } from "../wire/code.js";
import type { RoomEvent } from "./event.js";
import type { PeerId, RosterChange } from "./roster.js";
import { RoomSender } from "./send.js";

/** This client's peer id before and after a resume or rejoin. */
export interface OwnPeer {
  before: PeerId;
  now: PeerId;
}

/** The reporting half of a client in a room. */
export abstract class RoomReporter extends RoomSender {
  /** Reports the changes to the application, then completes the requests that waited for them. */
  _reportState(changes: readonly StateChange[], isFree: boolean): void {
    for (const change of changes) {
      this._push({ kind: "state", change }, isFree);
    }
    this._reportHost();
    this._requests.onVersion(this.replica.version);
    this._settleDesired();
  }

  _reportHost(): void {
    const { host } = this;
    if (host !== this._host) {
      this._host = host;
      this._push({ kind: "state", change: { kind: "host", host } });
    }
  }

  /**
   * Reports the changes to the application, and the peers to the realtime plane. Changes of this
   * client itself (`own`) are not reported to the application: "rejoined" and "resumed" report
   * them.
   */
  _reportRoster(changes: readonly RosterChange[], own: OwnPeer | undefined, isFree: boolean): void {
    for (const change of changes) {
      const { kind, peer } = change;
      if (kind === "left") {
        this.rpcs.peerLeft(peer.id);
      }
      const isOwn =
        own && kind !== "changed" && peer.id === (kind === "left" ? own.before : own.now);
      if (!isOwn) {
        this._push(rosterEvent(change), isFree);
      }
      if (kind === "left" || kind === "joined") {
        const output = kind === "left" ? "peerLeft" : "peerJoined";
        this._outputs.push({ kind: output, slot: peer.slot, peer: peer.id });
      }
    }
  }
}

function rosterEvent(change: RosterChange): RoomEvent {
  const { peer } = change;
  switch (change.kind) {
    case "left":
      return { kind: "peerLeft", peer, code: codeName(change.code ?? -1) };
    case "joined":
      return { kind: "peerJoined", peer };
    case "presence":
      return { kind: "presenceChanged", peer };
    case "changed":
      return { kind: "peerChanged", peer };
  }
}
