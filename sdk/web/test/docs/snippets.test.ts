// The code in the documents compiles against the library as it is.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const DOCUMENTS = { SDK: `${ROOT}../../docs/SDK.md`, README: `${ROOT}README.md` };
/** What a reader has already, unless the code declares it. */
const GIVEN = {
  token: "declare const token: string;",
  fetchToken: "declare function fetchToken(): Promise<string>;",
  room: 'declare const room: import("nucleus-client").Room;',
};

mkdirSync(`${ROOT}build`, { recursive: true });
const folder = mkdtempSync(`${ROOT}build/snippets-`);
after(() => rmSync(folder, { recursive: true }));

/** Returns the TypeScript in a document. */
function snippetsOf(text: string): string[] {
  return [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code = ""]) => code);
}

/** Returns code with declarations of what it takes for given. */
function whole(code: string): string {
  const given = Object.entries(GIVEN).filter(([name]) => {
    return !new RegExp(`\\b(?:const|let|function) ${name}\\b`).test(code);
  });
  return `${code}\n${given.map(([, declaration]) => declaration).join("\n")}\nexport {};\n`;
}

/** Compiles modules. Returns what the compiler says. */
function compile(modules: Record<string, string>): string {
  const options = {
    extends: `${ROOT}tsconfig.json`,
    compilerOptions: {
      noEmit: true,
      rootDir: ROOT,
      types: [],
      noUnusedLocals: false,
      paths: {
        "nucleus-client": [`${ROOT}src/index.ts`],
        "nucleus-client/voice": [`${ROOT}src/voice/index.ts`],
      },
    },
    include: [],
    files: Object.keys(modules),
  };
  writeFileSync(`${folder}/tsconfig.json`, JSON.stringify(options));
  for (const [name, code] of Object.entries(modules)) {
    writeFileSync(`${folder}/${name}`, code);
  }
  const compiler = `${ROOT}node_modules/typescript/bin/tsc`;
  const { stdout, stderr } = spawnSync(process.execPath, [compiler, "-p", folder], {
    encoding: "utf8",
  });
  return stdout + stderr;
}

test("the code of the documents compiles", () => {
  const modules: Record<string, string> = {};
  for (const [name, path] of Object.entries(DOCUMENTS)) {
    snippetsOf(readFileSync(path, "utf8")).forEach((code, i) => {
      modules[`${name}-${i + 1}.mts`] = whole(code);
    });
  }
  assert.ok(Object.keys(modules).length >= 5, "the documents have code");
  assert.equal(compile(modules), "");
});

test("code that does not fit the library is found", () => {
  const code = 'import { connect } from "nucleus-client";\nawait connect({ servers: token });\n';
  assert.match(compile({ "wrong.mts": whole(code) }), /wrong\.mts\(2,\d+\): error/);
});
