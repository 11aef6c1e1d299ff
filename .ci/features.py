"""Checks that every package builds its libraries with the features that the whole workspace uses.

Cargo compiles a library once for each set of features. With different sets, `cargo test -p
nucleus-core` would compile libraries again that `cargo test --workspace` has compiled. To mend a
fault, add the missing feature to features/Cargo.toml.

    python3 .ci/features.py
"""

import json
import subprocess
import sys

# The kinds of dependencies in a plain build, and in a build of the tests.
EDGES = {"build": "normal,build", "test": "normal,build,dev"}


def libraries(edges: str, *packages: str) -> set[tuple[str, str]]:
    """Returns the libraries outside the workspace that a build needs, each with its features."""
    command = ["cargo", "tree", "--locked", "--prefix", "none", "--format", "{p}\t{f}"]
    tree = subprocess.run(
        [*command, "--edges", edges, *packages], capture_output=True, text=True, check=True
    ).stdout
    lines = {line.removesuffix(" (*)") for line in tree.splitlines() if line}
    pairs = (line.split("\t") for line in lines if "(/" not in line)
    # `cargo tree` marks a procedural macro after its name.
    return {(name.removesuffix(" (proc-macro)"), features) for name, features in pairs}


def members() -> list[str]:
    """Returns the names of the workspace's packages, without `nucleus-features`."""
    command = ["cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    names = {package["name"] for package in json.loads(done.stdout)["packages"]}
    return sorted(names - {"nucleus-features"})


def main() -> int:
    faults = []
    for build, edges in EDGES.items():
        everything = libraries(edges, "--workspace")
        for member in members():
            for library, features in sorted(libraries(edges, "-p", member) - everything):
                used = " or ".join(f for name, f in sorted(everything) if name == library)
                faults.append(f"{build} of {member}: {library} has [{features}], elsewhere [{used}]")
    # A program's tests and examples use the libraries of its build.
    builds, tests = (libraries(edges, "--workspace") for edges in EDGES.values())
    for library, features in sorted(builds - tests):
        faults.append(f"tests use {library} with other features than [{features}]")
    print("\n".join(faults) or "every package builds its libraries with the same features")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
