"""Checks that the frozen files of the protocol are unchanged.

The JSON files in protocol/vectors/v1 and protocol/conformance say what version 1 of the protocol
is. Clients in other languages are tested against them, so a file never changes after its release.
New cases go into new files. Programs and documents beside them may change. .ci/frozen.sha256 has a
line for each file, as `sha256sum` prints it.

    python3 .ci/frozen.py              checks that each file is listed and each listed file unchanged
    python3 .ci/frozen.py --write      adds the files that are not listed, and changes no line
    python3 .ci/frozen.py --self-test  checks this check
"""

import hashlib
import pathlib
import sys
import tempfile

FOLDERS = ("protocol/vectors/v1", "protocol/conformance")
LIST = ".ci/frozen.sha256"


def sums(root: pathlib.Path) -> dict[str, str]:
    """Returns the SHA-256 of each JSON file in the frozen folders, by its path below `root`."""
    files = (file for folder in FOLDERS for file in (root / folder).rglob("*.json"))
    return {
        file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def read_list(root: pathlib.Path) -> dict[str, str]:
    """Returns the listed sums. Without a list nothing is listed."""
    path = root / LIST
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    pairs = (line.split("  ", 1) for line in lines)
    listed = [(name, digest) for digest, name in pairs]
    assert len(dict(listed)) == len(listed), f"{LIST} lists a file twice"
    return dict(listed)


def write_list(root: pathlib.Path, listed: dict[str, str]) -> None:
    lines = (f"{digest}  {name}\n" for name, digest in sorted(listed.items()))
    (root / LIST).write_text("".join(lines), encoding="utf-8")


def faults_of(found: dict[str, str], listed: dict[str, str]) -> list[str]:
    """Returns an error for each listed file that changed or is gone."""
    faults = []
    for name, digest in listed.items():
        if name not in found:
            faults.append(f"{name} is gone: a frozen file stays")
        elif found[name] != digest:
            faults.append(f"{name} changed: restore it, and put new cases into a new file")
    return faults


def check(root: pathlib.Path, write: bool) -> list[str]:
    """Returns all errors. Adds the files that are not listed, if `write` and there is no error."""
    found, listed = sums(root), read_list(root)
    faults = faults_of(found, listed)
    if write and found and not faults:
        write_list(root, found)
    elif not write:
        new = sorted(found.keys() - listed.keys())
        faults += [f"{name} is not listed: python3 .ci/frozen.py --write" for name in new]
    if not found:
        faults.append(f"nothing was checked: no file in {' or '.join(FOLDERS)}")
    return faults


def self_test() -> int:
    """Freezes two files, then plants each fault."""
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        old, deep, new = (
            root / FOLDERS[0] / "old.json",
            root / FOLDERS[1] / "deep/case.json",
            root / FOLDERS[0] / "new.json",
        )
        for file in (root / LIST, old, deep):
            file.parent.mkdir(parents=True, exist_ok=True)
        for write in (False, True):
            assert "nothing was checked" in check(root, write)[0], write
        assert not (root / LIST).exists()
        old.write_bytes(b"{}\n")
        deep.write_bytes(b"[]\n")
        (deep.parent / "run.py").write_bytes(b"pass\n")
        assert len(check(root, write=False)) == 2, "files that are not listed"
        assert check(root, write=True) == check(root, write=False) == []
        frozen = (root / LIST).read_text()

        old.write_bytes(b"{}\r\n")
        new.write_bytes(b"{}\n")
        for write in (False, True):
            assert any("old.json changed" in fault for fault in check(root, write)), write
        old.unlink()
        for write in (False, True):
            assert any("old.json is gone" in fault for fault in check(root, write)), write
        assert (root / LIST).read_text() == frozen, "a fault, and the list was written"

        old.write_bytes(b"{}\n")
        assert [fault.split(" is ")[1][:10] for fault in check(root, write=False)] == ["not listed"]
        assert check(root, write=True) == check(root, write=False) == []
        assert set(frozen.splitlines()) < set((root / LIST).read_text().splitlines())
    print("the check finds what is planted")
    return 0


def main() -> int:
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    root = pathlib.Path()
    faults = check(root, write=sys.argv[1:] == ["--write"])
    print("\n".join(faults) or f"{len(sums(root))} frozen files are unchanged")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
