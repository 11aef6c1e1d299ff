// A user's device outside rooms: users, calls, and the lobby's rooms.

export * from "./client.js";
export * from "./event.js";
export type { CallResult } from "./requests.js";
export type { ListedRoom } from "./rooms.js";
