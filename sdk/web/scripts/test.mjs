// Runs the compiled tests with Node's test runner: all of build/test, or the folders that are
// named. The tests in test/browser need a browser and run only when they are named.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../build/test", import.meta.url));
const source = fileURLToPath(new URL("../test", import.meta.url));
const named = process.argv.slice(2);

/** Returns the compiled tests of a folder whose sources still exist. */
function tests(folder) {
  return readdirSync(`${root}/${folder}`, { recursive: true })
    .map((name) => `${folder}/${name}`)
    .filter((name) => name.endsWith(".test.js"))
    .filter((name) => existsSync(`${source}/${name.replace(/\.js$/, ".ts")}`));
}

const folders = named.length > 0 ? named : readdirSync(root).filter((name) => name !== "browser");
const files = folders.flatMap(tests).map((name) => `${root}/${name}`);
const { status } = spawnSync(process.execPath, ["--test", ...files], { stdio: "inherit" });
process.exit(status ?? 1);
