"""Finds circles between workspace crates, and between sibling modules of one crate.

Two modules are siblings if they have the same parent. A sibling includes its whole subtree: `a`
depends on `b` if any file below `a` names something below `b` by a path. A child may name its
parent, and a parent its child. A name that the parent only re-exports counts as a name of the child
that defines the name. Code for tests (`#[cfg(test)]`, modules named `tests`) is not
checked. Every binary, example, bench and integration test counts as a separate crate.

The check does not see methods called on a value, `include!`, and paths that a macro builds.

    python3 .ci/circles.py              checks the workspace in the working directory
    python3 .ci/circles.py --self-test  checks this check
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import rust_modules

# Largest number of references that are shown for one edge.
SHOWN = 3


def edges_of(
    crate: rust_modules.Crate,
) -> dict[tuple[str, ...], dict[tuple[str, str], list[str]]]:
    """Returns, by parent module, which child names which sibling, and where."""
    found: dict[tuple[str, ...], dict[tuple[str, str], list[str]]] = {}
    waiting = [crate.root]
    while waiting:
        module = waiting.pop()
        waiting.extend(module.children.values())
        for reference in module.references + (module.names if module.globs else []):
            for target in crate.resolve(module, reference.segments):
                edge = sibling_edge(module.path, target.path)
                if edge:
                    parent, pair = edge
                    name = "::".join(reference.segments)
                    reference_text = f"{reference.file}:{reference.line} {name}"
                    references = found.setdefault(parent, {}).setdefault(pair, [])
                    if reference_text not in references:
                        references.append(reference_text)
    return found


def sibling_edge(
    source: tuple[str, ...], target: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, str]] | None:
    """Returns the parent and its two children that a name of `target` in `source` connects."""
    common = 0
    while common < min(len(source), len(target)) and source[common] == target[common]:
        common += 1
    if common == len(source) or common == len(target):
        return None
    return source[:common], (source[common], target[common])


def circles(pairs: set[tuple[str, str]]) -> list[list[str]]:
    """Returns the shortest circles that together contain every edge of any circle."""
    after: dict[str, list[str]] = {}
    for source, target in sorted(pairs):
        after.setdefault(source, []).append(target)
    found, covered = [], set()
    for source, target in sorted(pairs):
        if (source, target) in covered or source == target:
            continue
        back = shortest(after, target, source)
        if back:
            circle = [source, *back]
            covered.update(zip(circle, circle[1:]))
            found.append(circle)
    return found


def shortest(after: dict[str, list[str]], start: str, end: str) -> list[str] | None:
    paths, seen = [[start]], {start}
    while paths:
        path = paths.pop(0)
        if path[-1] == end:
            return path
        for step in after.get(path[-1], []):
            if step not in seen:
                seen.add(step)
                paths.append([*path, step])
    return None


def faults_between_modules(crate: rust_modules.Crate) -> list[str]:
    faults = []
    for parent, edges in sorted(edges_of(crate).items()):
        module = "::".join((crate.label, *parent))
        for circle in circles(set(edges)):
            lines = [f"{module}: {' -> '.join(circle)}"]
            for pair in zip(circle, circle[1:]):
                references = edges[pair]
                lines += [f"    {pair[0]} -> {pair[1]}: {text}" for text in references[:SHOWN]]
                if len(references) > SHOWN:
                    lines.append(f"    {pair[0]} -> {pair[1]}: and {len(references) - SHOWN} more")
            faults.append("\n".join(lines))
    return faults


def faults_between_crates(packages: list[dict]) -> list[str]:
    members = {package["name"] for package in packages}
    kinds: dict[tuple[str, str], set[str]] = {}
    for package in packages:
        for dependency in package["dependencies"]:
            if dependency["name"] in members and dependency["name"] != package["name"]:
                pair = (package["name"], dependency["name"])
                kinds.setdefault(pair, set()).add(dependency["kind"] or "normal")
    faults = []
    for circle in circles(set(kinds)):
        lines = [f"crates: {' -> '.join(circle)}"]
        for pair in zip(circle, circle[1:]):
            lines.append(f"    {pair[0]} -> {pair[1]}: {', '.join(sorted(kinds[pair]))} dependency")
        faults.append("\n".join(lines))
    return faults


def check(base: pathlib.Path) -> tuple[list[str], int]:
    """Returns the circles of the workspace in `base`, and how many crates were read."""
    command = ["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1"]
    answer = subprocess.run(command, cwd=base, capture_output=True, text=True, check=True).stdout
    packages = json.loads(answer)["packages"]
    faults, read = faults_between_crates(packages), 0
    for package in sorted(packages, key=lambda package: package["name"]):
        for target in package["targets"]:
            label = package["name"]
            if not {"lib", "proc-macro"} & set(target["kind"]):
                label += f" ({target['kind'][0]} {target['name']})"
            crate = rust_modules.read_crate(base, label, pathlib.Path(target["src_path"]))
            faults += faults_between_modules(crate)
            read += 1
    return faults, read


MANIFEST = '[package]\nname = "{name}"\nversion = "0.1.0"\nedition = "2024"\n'
PLANTED = {
    "Cargo.toml": '[workspace]\nresolver = "3"\nmembers = ["clean", "siblings", "facade", "dev"]\n',
    "clean/Cargo.toml": MANIFEST.format(name="clean"),
    "clean/src/lib.rs": """
//! `crate::upper::Upper` in a comment is no edge.
mod lower;
mod upper;
pub use lower::Lower;
pub struct Own;
""",
    "clean/src/lower.rs": '''
use super::Own;
use std::fmt::{self, Debug};
/* crate::upper::Upper /* nested */ crate::upper::Upper */
pub const TEXT: &str = "crate::upper::Upper";
pub const RAW: &str = r#"crate::upper::Upper"#;
pub struct Lower<'a>(&'a str, Own, char);
fn quote() -> char { '"' }
#[cfg(test)]
fn fixture<A, B>(a: A, b: B) -> crate::upper::Upper { crate::upper::Upper }
#[cfg(test)]
mod tests {
    use crate::upper::Upper;
}
''',
    "clean/src/upper.rs": "use crate::{Own, lower::{self, Lower}};\npub struct Upper;\n",
    "siblings/Cargo.toml": MANIFEST.format(name="siblings"),
    "siblings/src/lib.rs": """
mod first;
#[path = "second_here.rs"]
mod second;
mod room { pub mod left { use super::right::Right; pub struct Left; }
pub mod right { pub fn right(_: super::left::Left) {} pub struct Right; } }
""",
    "siblings/src/first/mod.rs": "mod deep;\npub struct First;\n",
    "siblings/src/first/deep.rs": "fn f(_: crate::second::Second) {}\n",
    "siblings/src/second_here.rs": "use crate::{first::{self, First}};\npub struct Second;\n",
    "facade/Cargo.toml": MANIFEST.format(name="facade")
    + '[dev-dependencies]\ndev = { path = "../dev" }\n',
    "facade/src/lib.rs": "mod a;\nmod b;\nmod c;\npub use a::A;\nuse b::B;\npub use c::*;\n",
    "facade/src/a.rs": "use super::B;\npub struct A;\n",
    "facade/src/b.rs": "use crate::*;\nfn f(_: C) {}\npub struct B;\n",
    "facade/src/c.rs": "use crate::A as Other;\npub struct C;\n",
    "dev/Cargo.toml": MANIFEST.format(name="dev")
    + '[dependencies]\nfacade = { path = "../facade" }\n',
    "dev/src/lib.rs": "mod a;\nmod b;\n",
    "dev/src/a.rs": "use super::b::B;\npub struct A;\n",
    "dev/src/b.rs": "pub struct B;\n",
    "dev/src/bin/tool/main.rs": "mod a;\nmod b;\nfn main() {}\n",
    "dev/src/bin/tool/a.rs": "use crate::b;\npub struct A(b::B);\n",
    "dev/src/bin/tool/b.rs": "pub struct B;\npub fn f(_: crate::a::A) {}\n",
}
EXPECTED = [
    "crates: dev -> facade -> dev",
    "dev (bin tool): a -> b -> a",
    "facade: a -> b -> c -> a",
    "siblings: first -> second -> first",
    "siblings::room: left -> right -> left",
]


def self_test() -> int:
    with tempfile.TemporaryDirectory() as folder:
        base = pathlib.Path(folder).resolve()
        for name, text in PLANTED.items():
            file = base / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        faults, _ = check(base)
    found = [fault.splitlines()[0] for fault in faults]
    if sorted(found) != EXPECTED:
        print("expected:", *EXPECTED, "found:", *faults, sep="\n  ")
        return 1
    if "siblings/src/first/deep.rs:1 crate::second::Second" not in "\n".join(faults):
        print("the file and line of an edge are missing:", *faults, sep="\n  ")
        return 1
    print(f"the check finds the {len(EXPECTED)} planted circles, and no other")
    return 0


def main() -> int:
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    faults, read = check(pathlib.Path.cwd())
    print("\n".join(faults) or f"{read} crates and their modules are free of circles")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
