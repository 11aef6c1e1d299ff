// The bytes on the wire: docs/PROTOCOL.md.

export * from "./application.js";
export * from "./code.js";
export * from "./codec.js";
export * from "./control.js";
export * from "./features.js";
export * from "./frame.js";
export * from "./groups.js";
export * from "./handshake.js";
export * from "./header.js";
export * from "./kinds.js";
export * from "./limits.js";
export * from "./messages.js";
export * from "./messaging.js";
export * from "./pose.js";
export * from "./report.js";
export * from "./rooms.js";
export * from "./schema.js";
export * from "./settings.js";
export * from "./social.js";
export * from "./state.js";
export * from "./text.js";
export * from "./value.js";
export * from "./voice.js";
