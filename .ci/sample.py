"""Prints a random sample of comments and of sentences from documents, for a reader who is new here.

    python3 .ci/sample.py [--seed N] [--count 20] [--paths PREFIX ...]

The same seed draws the same sample from the same tree. A comment is printed with the line of code
below it, and a sentence of a document with the heading above it. Every comment must be clear at the
first reading. The reader rewrites those that are not, and looks for others with the same weakness.
"""

import argparse
import pathlib
import random
import re
import subprocess
import sys

COMMENT = {".rs": re.compile(r"\s*(//[/!]?) ?(.*)"), ".py": re.compile(r"\s*(#) ?(.*)")}
# The end of a sentence; "e.g." and "i.e." do not end one.
END = re.compile(r"(?<!e\.g)(?<!i\.e)[.!?](?=\s+[A-Z`*])")


def tracked(*patterns: str) -> list[str]:
    """Returns the files of the repository that match."""
    command = ["git", "ls-files", *patterns]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def comments(name: str) -> list[str]:
    """Returns the comments of a source file. Consecutive comment lines are one comment."""
    lines = pathlib.Path(name).read_text(encoding="utf-8").splitlines()
    found, text, kind, first = [], [], None, 0
    for number, line in enumerate([*lines, ""], start=1):
        match = COMMENT[pathlib.Path(name).suffix].fullmatch(line)
        if match and not line.startswith("#!") and kind in (None, match[1]):
            kind, first = match[1], first or number
            text.append(match[2])
            continue
        if text and any(len(words.split()) > 2 for words in text):
            below = (code.strip() for code in lines[number - 1 :] if not code.strip().startswith("#["))
            code = "" if kind == "//!" else f"\n        {next(below, '')}"
            found.append(f"{name}:{first}\n" + "\n".join(f"    {words}" for words in text) + code)
        text, kind, first = ([match[2]], match[1], number) if match else ([], None, 0)
    return found


def sentences(name: str) -> list[str]:
    """Returns a document's sentences before a generated part. A row of a table is a paragraph."""
    found, heading, paragraph, fenced = [], "", [], False

    def close() -> None:
        text = " ".join(paragraph)
        for sentence in END.sub(lambda end: end[0] + "\n", text).split("\n"):
            if len(sentence.split()) > 3:
                found.append(f"{name}, {heading}\n    {sentence.strip()}")
        paragraph.clear()

    written, _, _generated = pathlib.Path(name).read_text(encoding="utf-8").partition("<!-- ")
    for line in written.splitlines():
        fenced ^= line.startswith("```")
        if fenced or line.startswith(("```", "|-", "| -")):
            close()
        elif line.startswith("#"):
            close()
            heading = line.lstrip("# ")
        elif not line.strip() or line.startswith("|") or re.match(r"\s*([-*]|\d+\.) ", line):
            close()
            paragraph.append(line.strip())
            if line.startswith("|"):
                close()
        else:
            paragraph.append(line.strip())
    close()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=20, help="of each kind (default 20)")
    parser.add_argument("--paths", nargs="*", default=[""], help="only files below these")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    chosen = tuple(args.paths)
    sources = [name for name in tracked("*.rs", "*.py") if name.startswith(chosen)]
    documents = [name for name in tracked("*.md") if name.startswith(chosen)]
    for title, found in (
        ("Comments", [one for name in sources for one in comments(name)]),
        ("Sentences", [one for name in documents for one in sentences(name)]),
    ):
        drawn = rng.sample(found, min(args.count, len(found)))
        print(f"# {title}: {len(drawn)} of {len(found)}, seed {args.seed}\n")
        print("\n\n".join(drawn), end="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
