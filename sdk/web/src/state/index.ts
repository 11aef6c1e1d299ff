// The shared state of a room. All peers can change it, and a new peer receives all of it.
//
// The state consists of entities: the room, its peers, and objects. Each entity has fields. A
// field has a key, a typed value, and the version of the state that set it. An object also has an
// owner.
//
// An application reads the state with `Room.field` and similar methods, and requests changes with
// a `Batch`, which the server applies completely or not at all. `StateViews` calls it back at
// changes.

export * from "./batch.js";
export * from "./change.js";
export * from "./digest.js";
export * from "./entity.js";
export * from "./replica.js";
export * from "./value.js";
export * from "./views.js";
