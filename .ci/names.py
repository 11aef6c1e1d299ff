"""Checks that a name means one thing, and writes the list of public types in docs/GLOSSARY.md.

1. No two types of libraries and programs have the same name. Exceptions are in FORMS: types of one
   name that are one thing in several forms. Benchmarks, examples and tests are left out.
2. No two types of one library, program, benchmark, example or test have the same name.
3. The methods of a type are in at most three files.
4. No name in the code contains a retired word (see docs/GLOSSARY.md, "Retired words").
5. The list of public types in docs/GLOSSARY.md is up to date.

    python3 .ci/names.py              checks the workspace in the working directory
    python3 .ci/names.py --write      writes the list first
    python3 .ci/names.py --self-test  checks this check
"""

import collections
import dataclasses
import pathlib
import re
import subprocess
import sys

import rust_modules

GLOSSARY = "docs/GLOSSARY.md"
BEGIN = "<!-- public types: written by .ci/names.py --write -->\n"
MAX_FILES = 3
# Names of which several types are allowed, because the types are one thing in several forms:
# archived on the wire, checked in the rules, typed for applications.
FORMS = {
    "Cli": "a program's command line",
    "Command": "a program's command",
    "RunError": "why a program's run failed",
    "EntityId": "names an entity of the shared state: in the rules, and for applications",
    "Audit": "an act of moderation that was done: on the wire, and as an application gets it",
    "Field": "a field of the shared state with its version: on the wire, and in a client's replica",
    "Query": "which rooms fit: as an application builds it, and as the lobby has checked it",
    "Room": "a room: its rules, and an application's handle to one that it is in",
    "RoomInfo": "what the lobby shows of a room: on the wire, and as an application gets it",
    "RoomOptions": "how a room is made: on the wire, checked in the rules, as an application sets it",
    "RoomSelection": "which room a join wants: as an application says it, and checked in the rules",
    "Social": "users outside rooms: the rules for all of them, and an application's handle",
    "UserInfo": "a user as watchers see it: on the wire, and as an application gets it",
    "Value": "a value of the shared state: on the wire, and typed for applications",
}
# Files with alternatives of types for other operating systems.
SYSTEMS = ("net/src/portable.rs",)
RETIRED = {
    "hall", "halls", "wish", "wishes", "stray", "strays", "intake", "guest", "guests", "books",
    "floor", "voices", "meetings",
}
ITEM = re.compile(r"( *)(pub(?:\([^)]*\))? )?(?:unsafe )?(struct|enum|union|trait|type) (\w+)")
IMPL = re.compile(r"impl(?:<.*?>)? (?:\w+::)*(\w+)(?:<.*>)?(?: \{)?$")
WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")


@dataclasses.dataclass
class Type:
    """A type: where it is defined, whether other crates may see it, and its first sentence."""

    name: str
    file: str
    public: bool
    about: str


def namespace(file: str) -> str:
    """Returns the library, program or test that a file belongs to."""
    parts = file.split("/")
    if "bin" in parts:
        return "/".join(parts[: parts.index("bin") + 2])
    if parts[1] == "src":
        return parts[0]
    return "/".join([parts[0], parts[1], *parts[2:3]]).removesuffix(".rs")


def first_sentence(lines: list[str], at: int) -> str:
    """Returns the first sentence of the doc comment above a line."""
    about, attribute = [], False
    for line in reversed(lines[:at]):
        text = line.strip()
        attribute |= text == ")]"
        if text.startswith("///"):
            about.insert(0, text.removeprefix("///").strip())
        elif not attribute and not text.startswith("#["):
            break
        attribute &= not text.startswith("#[")
    text = " ".join(" ".join(about).split("  ")[0].split())
    end = re.search(r"(?<!e\.g)(?<!i\.e)[.:](?= |$)", text)
    text = (text[: end.start()] if end else text) + "."
    return re.sub(r"\[(`[^`]*`)\](\([^)]*\))?", r"\1", text).replace("|", "\\|")


def types_in(file: str, text: str) -> list[Type]:
    """Returns the types that a file defines, without the associated types of traits."""
    lines = text.splitlines()
    found = []
    for at, line in enumerate(lines):
        match = ITEM.match(line)
        if match and not (match[3] == "type" and match[1]):
            # A public type that a macro makes is indented.
            public = match[2] == "pub "
            found.append(Type(match[4], file, public, first_sentence(lines, at)))
    return found


def is_library(file: str) -> bool:
    return namespace(file).count("/") == 0 and not re.search(r"/tests?(/|\.rs)", file)


def twice(types: list[Type]) -> list[str]:
    """Returns the names that rule 1 or 2 forbids: one name for several types."""
    faults = []
    by_name = collections.defaultdict(list)
    for one in types:
        if one.file not in SYSTEMS:
            by_name[one.name].append(one)
    for name, all_of in sorted(by_name.items()):
        places = collections.Counter(namespace(one.file) for one in all_of)
        libraries = {namespace(one.file): one.file for one in all_of if is_library(one.file)}
        if len(libraries) > 1 and name not in FORMS:
            faults.append(f"{name} stands in {', '.join(libraries.values())}")
        for place in (place for place, count in places.items() if count > 1):
            files = [one.file for one in all_of if namespace(one.file) == place]
            faults.append(f"{name} stands {len(files)} times in {place}: {', '.join(files)}")
    return faults


def spread(sources: dict[str, str]) -> list[str]:
    """Returns the types that rule 3 forbids: methods in more than MAX_FILES files."""
    files = collections.defaultdict(set)
    for file, text in sources.items():
        for line in text.splitlines():
            if match := IMPL.match(line):
                files[namespace(file), match[1]].add(file)
    return [
        f"{place}: the methods of {name} stand in {len(where)} files: {', '.join(sorted(where))}"
        for (place, name), where in sorted(files.items())
        if len(where) > MAX_FILES
    ]


def retired(sources: dict[str, str]) -> list[str]:
    """Returns the names that rule 4 forbids. `x.floor()` is allowed: it is a method of numbers."""
    faults = []
    for file, text in sources.items():
        tokens = rust_modules.tokens_of(text)
        for before, token in zip([None, *tokens], tokens):
            if token.kind != "ident" or (before and before.text == "." and token.text == "floor"):
                continue
            for word in {word.lower() for word in WORD.findall(token.text)} & RETIRED:
                faults.append(f"{file}:{token.line}: {token.text} has the retired word '{word}'")
    return faults


def listing(types: list[Type]) -> str:
    """Returns the table of public types for the glossary."""
    shown = (one for one in types if one.public and is_library(one.file))
    rows = sorted({(one.name, namespace(one.file), one.about) for one in shown})
    table = [f"| `{name}` | {crate} | {about} |" for name, crate, about in rows]
    return "\n".join(["| type | crate | what it is |", "|---|---|---|", *table]) + "\n"


def faults_of(sources: dict[str, str], glossary: str) -> list[str]:
    types = [one for file, text in sources.items() for one in types_in(file, text)]
    faults = twice(types) + spread(sources) + retired(sources)
    if glossary.partition(BEGIN)[2].strip() != listing(types).strip():
        faults.append(f"{GLOSSARY} does not list the public types as they are: run it with --write")
    return faults


def self_test() -> int:
    """Checks that each rule finds a planted fault, and that correct code has no faults."""
    good = {"core/src/a.rs": "/// A hut. More.\n#[x(\n  y\n)]\npub struct Hut;\nimpl Hut {\n}\n"}
    types = [one for file, text in good.items() for one in types_in(file, text)]
    glossary = BEGIN + listing(types)
    assert "| `Hut` | core | A hut. |" in glossary, glossary
    assert faults_of(good, glossary) == []
    many = {f"core/src/{n}.rs": "impl Hut {\n}\n" for n in "bcd"}
    for planted, words in (
        ({"client/src/b.rs": "struct Hut;"}, "stands in"),
        ({"core/src/b.rs": "macro_rules! m { () => {\n    pub enum Shed {}\n}; }"}, "does not list"),
        ({"core/src/b.rs": "struct Hut;"}, "stands 2 times"),
        (many, "stand in 4 files"),
        ({"core/src/b.rs": "fn hall_of(guestHouse: u8) {}"}, "retired word 'hall'"),
        ({"core/src/b.rs": "pub struct Seat;"}, "does not list"),
    ):
        found = faults_of(good | planted, glossary)
        assert any(words in fault for fault in found), (planted, found)
    assert faults_of(good | {"core/src/b.rs": "fn f(x: f64) { x.floor(); }"}, glossary) == []
    print("the check finds what is planted")
    return 0


def main() -> int:
    if "--self-test" in sys.argv:
        return self_test()
    command = ["git", "ls-files", "*.rs"]
    tracked = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    files = [file for file in tracked if pathlib.Path(file).exists()]
    sources = {file: pathlib.Path(file).read_text(encoding="utf-8") for file in files}
    path = pathlib.Path(GLOSSARY)
    if "--write" in sys.argv:
        types = [one for file, text in sources.items() for one in types_in(file, text)]
        head = path.read_text(encoding="utf-8").partition(BEGIN)[0]
        path.write_text(head + BEGIN + listing(types), encoding="utf-8")
    faults = faults_of(sources, path.read_text(encoding="utf-8"))
    types = [one for file, text in sources.items() for one in types_in(file, text)]
    forms = collections.Counter(name for name, _ in {(t.name, namespace(t.file)) for t in types})
    faults += [f"FORMS names {name}, which has one form" for name in FORMS if forms[name] < 2]
    print("\n".join(faults) or f"the names of {len(sources)} files mean one thing each")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
