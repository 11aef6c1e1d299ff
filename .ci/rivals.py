"""Checks that the figures of docs/BENCHMARKS.md were measured with the rivals' code as it is.

The program `peers` prints the hash of the rivals' code and of the versions of their libraries, and
the document names the hash beside the figures. Whoever changes a rival, what all rivals share, or
the version of a rival's library has to measure again.

    python3 .ci/rivals.py              checks the repository in the working directory
    python3 .ci/rivals.py --self-test  checks this check
"""

import hashlib
import pathlib
import re
import sys
import tempfile

PEERS = "benches/src/bin/peers"
LIST = f"{PEERS}/rivals.rs"
LOCK = "Cargo.lock"
DOCUMENT = "docs/BENCHMARKS.md"
NAMED = re.compile(r"rivals' code: `([0-9a-f]{64})`")


def named_in(code: str, start: str) -> list[str]:
    """Returns the strings of the list that begins after `start`."""
    listed = code.partition(start)[2].partition("]")[0]
    names = re.findall(r'"([^"]+)"', listed)
    assert names, f"{LIST} has no list after `{start}`"
    return names


def sha256(root: pathlib.Path) -> str:
    """Returns the hash of the rivals' code, as `rivals.rs` computes it."""
    code = (root / LIST).read_text()
    paths = named_in(code, "= sources![")
    libraries = named_in(code.partition("const LIBRARIES")[2], "=")
    lock = (root / LOCK).read_text()
    total = hashlib.sha256()
    for path in paths:
        total.update(path.encode() + b"\0" + (root / PEERS / path).read_bytes())
    for library in libraries:
        versions = re.findall(f'^name = "{re.escape(library)}"\nversion = "(.*)"$', lock, re.M)
        assert versions, f"{library} is not in {LOCK}"
        for version in versions:
            total.update(f"{library} {version}\n".encode())
    return total.hexdigest()


def check(root: pathlib.Path) -> list[str]:
    """Returns the faults."""
    listed = (root / LIST).read_text()
    # `nucleus.rs` is no rival, and the others hold no code of a rival's server.
    apart = {"child.rs", "mod.rs", "nucleus.rs"}
    faults = [
        f"{file.name} is not listed in {LIST}"
        for file in sorted((root / PEERS / "systems").glob("*.rs"))
        if file.name not in apart and f'"systems/{file.name}"' not in listed
    ]
    named, actual = NAMED.findall((root / DOCUMENT).read_text()), sha256(root)
    if named != [actual]:
        faults.append(
            f"{DOCUMENT} names the rivals' code {', '.join(named) or 'nowhere'}, but the code is "
            f"{actual}: measure again with `peers`, and renew the figures with the hash"
        )
    return faults


def self_test() -> int:
    """Checks that a changed, an unlisted and an unnamed rival are found."""
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        systems = root / PEERS / "systems"
        systems.mkdir(parents=True)
        (root / "docs").mkdir()
        (root / LIST).write_text(
            'const S: [Source; 1] = sources![\n    "systems/a.rs",\n];\n'
            'const LIBRARIES: [&str; 1] =\n    ["rival"];\n'
        )
        lock = '[[package]]\nname = "rival"\nversion = "1.0.0"\n'
        (root / LOCK).write_text(lock)
        (systems / "a.rs").write_text("fn a() {}\n")
        (systems / "nucleus.rs").write_text("")
        (root / DOCUMENT).write_text("no hash")
        assert [fault.split(",")[0].split(" ")[-1] for fault in check(root)] == ["nowhere"]
        (root / DOCUMENT).write_text(f"The rivals' code: `{sha256(root)}`.\n")
        assert check(root) == []
        (systems / "a.rs").write_text("fn a() { faster() }\n")
        assert ["measure again" in fault for fault in check(root)] == [True]
        (systems / "a.rs").write_text("fn a() {}\n")
        (root / LOCK).write_text(lock.replace("1.0.0", "1.0.1"))
        assert ["measure again" in fault for fault in check(root)] == [True]
        (root / LOCK).write_text(lock)
        (systems / "b.rs").write_text("")
        assert check(root) == [f"b.rs is not listed in {LIST}"]
    print("the check finds what is planted")
    return 0


def main() -> int:
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    faults = check(pathlib.Path())
    print("\n".join(faults) or "the benchmarks' figures are of the rivals' code as it is")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
