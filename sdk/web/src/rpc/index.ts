// Requests of one peer to another and their answers (RPC).

export * from "./error.js";
export type { RpcResult } from "./outgoing.js";
export * from "./rpcs.js";
