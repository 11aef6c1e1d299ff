"""Checks rules that no compiler checks: the size of files, and where `unsafe` is allowed."""

import pathlib
import re
import subprocess
import sys

MAX_LINES = 500
UNSAFE = re.compile(r"\bunsafe\s*(\{|fn|impl|trait|extern)")
# The test that counts allocations needs a global allocator, which is an unsafe trait.
UNSAFE_ALLOWED = ("net/", "server/tests/allocations.rs")


def main() -> int:
    files = subprocess.run(
        ["git", "ls-files", "*.rs", "*.py"], capture_output=True, text=True, check=True
    ).stdout.split()
    faults = []
    for name in files:
        text = pathlib.Path(name).read_text(encoding="utf-8")
        lines = text.count("\n")
        if lines > MAX_LINES:
            faults.append(f"{name}: {lines} lines, over {MAX_LINES}: split it")
        if name.endswith(".rs") and not name.startswith(UNSAFE_ALLOWED) and UNSAFE.search(text):
            faults.append(f"{name}: unsafe outside net/")
    print("\n".join(faults) or f"{len(files)} files are tidy")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
