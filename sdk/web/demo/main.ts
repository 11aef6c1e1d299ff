/** The demo: a small room seen from above. Starts everything, and works once a frame. */

import type { Peer, Room, RoomEvent } from "../src/index.js";
import { explain, explainError, showConnection } from "./badge.js";
import { Calls } from "./call.js";
import { Chat, CHAT, readText } from "./chat.js";
import { Colours } from "./colours.js";
import { Cube } from "./cube.js";
import { ahead, angleOf, EYE_HEIGHT, type Place, rotationOf, within } from "./geometry.js";
import { displayName, identify, type Identity } from "./identity.js";
import { byId, isolated } from "./page.js";
import { showPeople } from "./people.js";
import { type HeadView, Plan } from "./plan.js";
import { Pointers } from "./pointers.js";
import { copyLink, home, Rooms } from "./rooms.js";
import { Tokens } from "./token.js";
import { Voice } from "./voice.js";
import { Walk } from "./walk.js";

/** Time between two poses, in ms: 30 a second. */
const POSE_MS = 1_000 / 30;
/** Time between two cursors, in ms. */
const POINTER_MS = 50;
/** Time between two looks at the figures of the connection, in ms. The ticket is kept as often. */
const SECOND_MS = 1_000;
/** How far in front of a head the cube is held, in metres. */
const ARM = 0.75;
/** A hidden tab draws nothing, but takes its events this often, in ms. */
const HIDDEN_MS = 250;
/** Longest time of one frame that moves the person, in seconds. A tab that slept does not jump. */
const LONGEST_FRAME = 0.25;
/** The channels on which the example headsets send greetings as plain text. */
const GREETINGS: readonly number[] = [0, 1];
/** People come in side by side, this far apart, in metres. */
const [PLACES, APART] = [5, 1.1];

/** The page. */
class Demo {
  readonly #plan = new Plan();
  readonly #walk = new Walk(this.#plan, () => this.#toggleCube());
  readonly #chat = new Chat((text) => this.#say(text));
  readonly #pointers = new Pointers();
  readonly #speaking = new Set<number>();
  readonly #colours = new Colours();
  readonly #rooms: Rooms;
  readonly #calls: Calls;
  readonly #voice: Voice;
  #cube: Cube | undefined;
  #holder: number | undefined;
  #arePeopleNew = true;
  #frameAt = performance.now();
  #poseAt = 0;
  #pointerAt = 0;
  #secondAt = 0;

  constructor(identity: Identity) {
    const tokens = new Tokens(identity.user, () => displayName(identity));
    const place = (identity.number - 1) % PLACES;
    this.#walk.stand({ x: (place - (PLACES - 1) / 2) * APART, z: 1.7 });
    this.#rooms = new Rooms(identity, tokens, {
      arrived: (room) => this.#arrive(room),
      dropped: () => this.#drop(),
      stopped: async () => {
        await Promise.all([this.#calls.end(), this.#voice.stop()]);
      },
    });
    this.#voice = new Voice(() => this.#rooms.room);
    this.#calls = new Calls(identity, tokens, {
      meet: (room) => void this.#rooms.go(room),
      goBack: () => void this.#rooms.go(home()),
      people: () => this.#rooms.room?.peers() ?? [],
    });
    this.#listen();
    this.#frame();
    setInterval(() => document.hidden && this.#step(), HIDDEN_MS);
    void this.#begin();
  }

  #listen(): void {
    const leave = byId<HTMLButtonElement>("leave");
    leave.disabled = false;
    leave.addEventListener("click", () => {
      void (this.#rooms.wantsRoom ? this.#rooms.leave() : this.#begin());
    });
    document.addEventListener("keydown", (event) => {
      const isTyping = event.target instanceof HTMLInputElement;
      const isPlain = !event.ctrlKey && !event.altKey && !event.metaKey && !event.repeat;
      if (event.key.toLowerCase() === "g" && isPlain && !isTyping) {
        this.#toggleCube();
      }
    });
    addEventListener("hashchange", () => {
      // A call goes on; the tab comes back to the new room.
      if (this.#rooms.wantsRoom && !this.#calls.isInCall) {
        void this.#rooms.go(home());
      }
    });
    addEventListener("pagehide", () => this.#rooms.keepTicket());
    byId("copy").addEventListener("click", copyLink);
  }

  async #begin(): Promise<void> {
    this.#rooms.begin();
    await this.#calls.begin();
    // Not if the person has left already, or is in a call that goes on.
    this.#calls.step();
    if (this.#rooms.wantsRoom && !this.#calls.isInCall) {
      await this.#rooms.go(home());
    }
  }

  #arrive(room: Room): void {
    this.#cube = new Cube(room, performance.now());
    this.#arePeopleNew = true;
    this.#chat.note(`You came in as ${isolated(room.peer(room.me)?.name ?? "")}.`);
    this.#voice.arrive();
  }

  #drop(): void {
    this.#voice.drop();
    this.#cube = undefined;
    this.#speaking.clear();
    this.#pointers.clear();
    this.#arePeopleNew = true;
  }

  #frame = (): void => {
    requestAnimationFrame(this.#frame);
    this.#step();
  };

  #step(): void {
    const now = performance.now();
    const seconds = Math.min((now - this.#frameAt) / 1_000, LONGEST_FRAME);
    this.#frameAt = now;
    this.#calls.step();
    for (const event of this.#rooms.room?.poll() ?? []) {
      this.#take(event);
    }
    this.#walk.step(seconds);
    // An event may have ended the room.
    const room = this.#rooms.room;
    if (room && !room.isClosed && !this.#rooms.isInterrupted) {
      this.#send(room, now);
      this.#cube?.step(now, this.#inHand());
    }
    this.#draw(now);
    if (now >= this.#secondAt) {
      this.#secondAt = now + SECOND_MS;
      this.#rooms.showQuality();
      this.#rooms.keepTicket();
    }
  }

  #send(room: Room, now: number): void {
    const { place, angle, cursor } = this.#walk;
    if (now >= this.#poseAt) {
      // What a slow frame left out is not made up for.
      this.#poseAt = Math.max(this.#poseAt + POSE_MS, now);
      const position: [number, number, number] = [place.x, EYE_HEIGHT, place.z];
      room.sendPose({ head: { position, rotation: rotationOf(angle) } });
    }
    if (now >= this.#pointerAt) {
      this.#pointerAt = now + POINTER_MS;
      const payload = this.#pointers.payload(cursor, now);
      if (payload) {
        room.sendPointer(payload);
      }
    }
  }

  #take(event: RoomEvent): void {
    switch (event.kind) {
      case "peerJoined":
        this.#chat.note(`${isolated(event.peer.name)} came in.`);
        break;
      case "peerLeft":
        this.#chat.note(`${isolated(event.peer.name)} left.`);
        this.#speaking.delete(event.peer.id);
        this.#pointers.remove(event.peer.id);
        break;
      case "peerChanged":
        break;
      case "presenceChanged":
        if (event.peer.id !== this.#rooms.room?.me) {
          this.#chat.note(`${isolated(event.peer.name)} is ${event.peer.away ? "away" : "back"}.`);
        }
        break;
      case "speaking":
        if (event.speaking) {
          this.#speaking.add(event.peer);
        } else {
          this.#speaking.delete(event.peer);
        }
        break;
      case "pointer":
        this.#pointers.take(event.from, event.payload, performance.now());
        return;
      case "typedEvent":
        if (event.type === CHAT) {
          this.#hear(event.from, event.payload);
        }
        return;
      case "event":
        if (GREETINGS.includes(event.channel)) {
          this.#hear(event.from, event.payload);
        }
        return;
      case "interrupted":
      case "resumed":
      case "rejoined":
        this.#rooms.isInterrupted = event.kind === "interrupted";
        this.#rooms.showQuality();
        if (event.kind === "rejoined") {
          this.#speaking.clear();
          this.#pointers.clear();
          this.#voice.arrive();
        }
        break;
      case "quality":
        this.#rooms.isUnheard = event.quality === "unknown";
        this.#rooms.showQuality();
        return;
      case "closed":
        this.#chat.note(`The room is closed. ${explain(event.code, event.text)}`);
        this.#rooms.closed(event.code, event.text);
        break;
      default:
        return;
    }
    this.#arePeopleNew = true;
  }

  #hear(from: number, payload: Uint8Array): void {
    const text = readText(payload);
    const room = this.#rooms.room;
    if (text !== undefined && room && from !== room.me) {
      this.#chat.add(room.peer(from)?.name ?? "Somebody", text);
    }
  }

  #say(text: string): void {
    const room = this.#rooms.room;
    if (!room) {
      this.#chat.note("You are not in the room. Join again to say something.");
      return;
    }
    this.#chat.add("You", text);
    room
      .sendTypedEvent("others", CHAT, new TextEncoder().encode(text))
      .catch((error: unknown) => this.#chat.note(`The message was not sent. ${explainError(error)}`));
  }

  #toggleCube(): void {
    this.#cube?.toggle(this.#inHand());
  }

  /** Where this tab's person holds the cube. */
  #inHand(): Place {
    return ahead(this.#walk.place, this.#walk.angle, ARM);
  }

  #draw(now: number): void {
    const { room } = this.#rooms;
    const peers = new Map((room?.peers() ?? []).map((peer) => [peer.id, peer]));
    this.#colours.keep(new Set(peers.keys()));
    const nameOf = (peer: number): string => peers.get(peer)?.name ?? "somebody";
    const colourOf = (peer: number): string => this.#colours.of(peer);
    const heads = this.#heads(room, peers);
    const inHand = (peer: number): Place | undefined => {
      const head = heads.get(peer);
      return head && ahead(head.place, head.angle, ARM);
    };
    const cube = this.#cube?.view(inHand, nameOf, colourOf);
    this.#showPeople(room, [...peers.values()]);
    if (document.hidden) {
      return;
    }
    this.#plan.drawHeads(heads);
    this.#plan.drawCube(cube);
    const { cursor } = this.#walk;
    this.#plan.drawCursors(this.#pointers.views(room?.me, cursor, nameOf, colourOf, now));
    if (now >= this.#secondAt) {
      this.#plan.describe([...heads.values()], cube);
    }
  }

  #heads(room: Room | undefined, peers: ReadonlyMap<number, Peer>): Map<number, HeadView> {
    const heads = new Map<number, HeadView>();
    if (!room) {
      return heads;
    }
    for (const { from, channel, key, pose } of room.shownPoses()) {
      const peer = peers.get(from);
      if (peer && channel === 0 && key === 0) {
        const [x, , z] = pose.head.position;
        heads.set(from, {
          name: peer.name,
          colour: this.#colours.of(from),
          place: within({ x, z }),
          angle: angleOf(pose.head.rotation),
          away: peer.away,
          talks: this.#speaking.has(from),
          isMe: false,
        });
      }
    }
    const { place, angle } = this.#walk;
    const talks = this.#voice.isSpeaking;
    heads.set(room.me, { name: "You", colour: "", place, angle, away: false, talks, isMe: true });
    return heads;
  }

  #showPeople(room: Room | undefined, others: Peer[]): void {
    const holder = this.#cube?.holder();
    const isVoiceNew = this.#voice.takeChange();
    if (!this.#arePeopleNew && !isVoiceNew && holder === this.#holder) {
      return;
    }
    this.#arePeopleNew = false;
    this.#holder = holder;
    const speaking = new Set(this.#speaking);
    if (room && this.#voice.isSpeaking) {
      speaking.add(room.me);
    }
    const me = room?.peer(room.me);
    const colourOf = (peer: number): string => this.#colours.of(peer);
    showPeople({ me, others, speaking, isMicOn: this.#voice.isOn, holder, colourOf });
  }
}

/** Says what the browser lacks. */
function missing(): string | undefined {
  if (!isSecureContext) {
    return "This page works on 127.0.0.1 or localhost, or over https.";
  }
  return "WebTransport" in globalThis ? undefined : "This browser has no WebTransport.";
}

const lacking = missing();
if (lacking) {
  showConnection("bad", lacking);
} else {
  identify().then(
    (identity) => new Demo(identity),
    (error: unknown) => showConnection("bad", explainError(error)),
  );
}
