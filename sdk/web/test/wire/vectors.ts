// Reads the protocol's test vectors, which every client shares.

import { readFileSync } from "node:fs";

import type { Kind } from "../../src/wire/kinds.js";

/** A value of a vector's JSON. Numbers that a double cannot hold exactly are `bigint`. */
export type Json = null | boolean | number | bigint | string | Json[] | { [name: string]: Json };

/** A case of a vector. */
export type Case = Record<string, never>;

const FOLDER = new URL("../../../../../protocol/vectors/v1/", import.meta.url);

/** Reads a file of vectors. `T` says which fields its cases have. */
export function vectors<T>(name: string): T {
  const text = readFileSync(new URL(`${name}.json`, FOLDER), "utf8");
  // A number of 16 digits or more may be above 2^53, so it becomes a bigint.
  const marked = text.replace(/: (\d{16,})(?=[,\s])/g, ': "bigint:$1"');
  return JSON.parse(marked, (_, value: unknown) =>
    typeof value === "string" && value.startsWith("bigint:") ? BigInt(value.slice(7)) : value,
  ) as T;
}

/** Decodes hexadecimal digits. */
export function bytesOf(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, "hex"));
}

/** Encodes bytes as hexadecimal digits. */
export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

/** Turns `snake_case` into `camelCase`. */
export function camel(name: string): string {
  return name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}

/**
 * Turns the fields of a vector into the value of a kind: the names, byte strings and u64 differ.
 */
export function valueOf(kind: Kind, json: Json | undefined): unknown {
  if (kind === 8) {
    return BigInt((json ?? 0) as number);
  }
  if (kind === 0 || (typeof kind === "object" && "array" in kind)) {
    return bytesOf((json ?? "") as string);
  }
  if (typeof kind === "number") {
    return json ?? 0;
  }
  if ("list" in kind) {
    return (json as Json[]).map((item) => valueOf(kind.list, item));
  }
  const fields = Object.entries(json as { [name: string]: Json }).map(
    ([name, value]) => [camel(name), value] as const,
  );
  const given = Object.fromEntries(fields);
  for (const name of Object.keys(given)) {
    if (!(name in kind.fields)) {
      throw new Error(`the table has no field ${name}`);
    }
  }
  return Object.fromEntries(
    Object.entries(kind.fields).map(([name, field]) => [name, valueOf(field, given[name])]),
  );
}
