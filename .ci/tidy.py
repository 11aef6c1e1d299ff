"""Checks rules that no compiler checks: the size of files, where `unsafe` is allowed, that no server's
keys are among the files, and that documents name files and headings that exist."""

import pathlib
import re
import subprocess
import sys

MAX_LINES = 500
UNSAFE = re.compile(r"\bunsafe\s*(\{|fn|impl|trait|extern)")
# The C library is passed pointers. The tests that count allocations need a global allocator, which is an
# unsafe trait.
UNSAFE_ALLOWED = ("net/", "sdk/c/src/", "server/tests/allocations.rs", "client/core/tests/frame_allocations.rs",
                  "client/tests/frames/allocator.rs")
# What a server's data directory holds.
KEY_FILE = re.compile(r"(^|/)(data/|[\w-]+-key(\.pem)?$|[\w.-]+\.(pem|p8|p12|pfx)$)")
NAMED_FILE = re.compile(r"`([\w./-]+\.(?:rs|py|toml|md))`")
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)]*))?\)")


def anchors(document: pathlib.Path) -> set[str]:
    """Returns the anchors of a document's headings, as GitHub makes them."""
    lines = document.read_text(encoding="utf-8").splitlines()
    titles = (line.lstrip("# ") for line in lines if line.startswith("#"))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def dead_references(name: str, files: list[str]) -> list[str]:
    """Returns an error for each file or heading that a document names and that does not exist."""
    path = pathlib.Path(name)
    text = path.read_text(encoding="utf-8")
    dead = [
        f"{name}: no file is called {named}"
        for named in NAMED_FILE.findall(text)
        if not any(f"/{file}".endswith(f"/{named}") for file in files)
    ]
    for target, anchor in LINK.findall(text):
        if "://" in target:
            continue
        document = path.parent / target if target else path
        if not document.exists():
            dead.append(f"{name}: the link {target} leads nowhere")
        elif anchor and anchor not in anchors(document):
            dead.append(f"{name}: {target}#{anchor} names no heading")
    return dead


def main() -> int:
    command = ["git", "ls-files"]
    files = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    faults = []
    for name in files:
        if KEY_FILE.search(name):
            faults.append(f"{name}: looks like a key, which belongs in no repository")
        if name.endswith(".md"):
            faults += dead_references(name, files)
        if not name.endswith((".rs", ".py", ".ts", ".mjs")):
            continue
        text = pathlib.Path(name).read_text(encoding="utf-8")
        lines = text.count("\n")
        if lines > MAX_LINES:
            faults.append(f"{name}: {lines} lines, over {MAX_LINES}: split it")
        if name.endswith(".rs") and not name.startswith(UNSAFE_ALLOWED) and UNSAFE.search(text):
            faults.append(f"{name}: unsafe outside net/ and sdk/c/")
    print("\n".join(faults) or f"{len(files)} files are tidy")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
