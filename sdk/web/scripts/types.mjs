// Removes the members that begin with "_" from the published types: the bundle gives them other
// names, so no application can use them. Fails if one is left, or if the rest is no longer whole.
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../dist/types", import.meta.url));

/** The begin of a member, as the compiler writes it: with one level of indentation. */
const INTERNAL_MEMBER = /^ {4}(?:(?:static|readonly|protected|abstract|get|set) )*_\w*[?:(<;]/;
/** A member with such a name anywhere, also in the type of another one. */
const INTERNAL_NAME = /(?:^|[\s{(;])_\w*\??:/;

/** Returns how much deeper the brackets are at the end of a line. */
function depthOf(line) {
  return (line.match(/[({[]/g)?.length ?? 0) - (line.match(/[)}\]]/g)?.length ?? 0);
}

/** Returns the declarations without their internal members, and without the comments of these. */
function withoutInternals(text) {
  const kept = [];
  const lines = text.split("\n");
  for (let at = 0; at < lines.length; at += 1) {
    if (!INTERNAL_MEMBER.test(lines[at])) {
      kept.push(lines[at]);
      continue;
    }
    let depth = depthOf(lines[at]);
    while (depth > 0 || !lines[at].endsWith(";")) {
      at += 1;
      depth += depthOf(lines[at]);
    }
    if (kept.at(-1)?.endsWith("*/")) {
      while (!kept.pop().trimStart().startsWith("/**")) {
        // A comment of several lines.
      }
    }
  }
  return kept.join("\n");
}

const names = readdirSync(root, { recursive: true }).filter((name) => name.endsWith(".d.ts"));
for (const name of names) {
  const text = withoutInternals(readFileSync(`${root}/${name}`, "utf8"));
  const left = text
    .split("\n")
    .find((line) => INTERNAL_MEMBER.test(line) || INTERNAL_NAME.test(line));
  if (left !== undefined) {
    process.stderr.write(`dist/types/${name} shows an internal name: ${left.trim()}\n`);
    process.exitCode = 1;
  }
  writeFileSync(`${root}/${name}`, text);
}

const compiler = fileURLToPath(new URL("../node_modules/typescript/bin/tsc", import.meta.url));
const options = ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext"];
const libraries = ["--lib", "es2023,dom,dom.iterable,dom.asynciterable", "--types", ""];
const entries = [`${root}/index.d.ts`, `${root}/voice/index.d.ts`];
const { status } = spawnSync(
  process.execPath,
  [compiler, ...options, ...libraries, "--ignoreConfig", ...entries],
  { stdio: "inherit" },
);
process.exitCode ||= status ?? 1;
