"""Checks that the figures of docs/BENCHMARKS.md were measured with the rivals' code as it is.

The program `peers` prints the hash of the rivals' code, and the document names the hash beside the
figures. Whoever changes a rival, or what all rivals share, has to measure again.

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
DOCUMENT = "docs/BENCHMARKS.md"
NAMED = re.compile(r"rivals' code: `([0-9a-f]{64})`")


def sha256(root: pathlib.Path) -> str:
    """Returns the hash of the rivals' code, as `rivals.rs` computes it."""
    listed = (root / LIST).read_text().partition("= sources![")[2].partition("]")[0]
    paths = re.findall(r'"([^"]+)"', listed)
    assert paths, f"{LIST} lists no files"
    total = hashlib.sha256()
    for path in paths:
        total.update(path.encode() + b"\0" + (root / PEERS / path).read_bytes())
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
        (root / LIST).write_text('const S: [Source; 1] = sources![\n    "systems/a.rs",\n];\n')
        (systems / "a.rs").write_text("fn a() {}\n")
        (systems / "nucleus.rs").write_text("")
        (root / DOCUMENT).write_text("no hash")
        assert [fault.split(",")[0].split(" ")[-1] for fault in check(root)] == ["nowhere"]
        (root / DOCUMENT).write_text(f"The rivals' code: `{sha256(root)}`.\n")
        assert check(root) == []
        (systems / "a.rs").write_text("fn a() { faster() }\n")
        assert ["measure again" in fault for fault in check(root)] == [True]
        (systems / "a.rs").write_text("fn a() {}\n")
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
