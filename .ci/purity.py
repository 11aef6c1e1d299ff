"""Checks that the cores are pure, and that only `edge/quic/` names quinn.

`nucleus-core` and `nucleus-client-core` must use no socket, thread, runtime, lock, atomic, clock or
source of randomness, neither through a library (all their dependencies must be in the list below)
nor by a name in their code. HashMap is allowed although its seed is random, because no core depends
on the order of one. Of std::net only the addresses are allowed. In the server only `edge/quic/` may
name quinn. Code for tests is not checked.

    python3 .ci/purity.py              checks the workspace in the working directory
    python3 .ci/purity.py --self-test  checks this check
"""

import pathlib
import subprocess
import sys

import rust_modules

CORES = {"nucleus-core": "core/src", "nucleus-client-core": "client/core/src"}
# The libraries that a core may use, directly or not: serialization, cryptography, derive macros,
# tables of Unicode.
LIBRARIES = {
    "aws-lc-rs", "aws-lc-sys", "base64", "bytecheck", "bytecheck_derive", "bytes", "hashbrown", "itoa", "memchr", "munge",
    "munge_macro", "nucleus-client-core", "nucleus-core", "nucleus-features", "nucleus-protocol", "proc-macro2", "ptr_meta", "ptr_meta_derive",
    "quote", "rancor", "rend", "rkyv", "rkyv_derive", "serde", "serde_core", "serde_derive", "serde_json",
    "simdutf8", "syn", "thiserror", "thiserror-impl", "tinyvec", "tinyvec_macros", "unicode-ident",
    "unicode-normalization", "untrusted", "zeroize", "zeroize_derive", "zmij",
}
# Names that a core's code must not use. Of std::sync only Arc is allowed, and of std::net only
# addresses, see `names_in`.
NAMES = {
    "tokio", "quinn", "rustls", "dashmap", "fastrand", "getrandom", "libc",
    "Mutex", "RwLock", "Condvar", "Barrier", "Once", "OnceLock", "LazyLock", "mpsc", "atomic", "thread",
    "thread_local", "Instant", "SystemTime", "UNIX_EPOCH", "rand", "RandomState",
    "UdpSocket", "TcpStream", "TcpListener", "net", "io", "os", "fs", "env", "process", "unsafe",
    "print", "println", "eprint", "eprintln", "dbg",
}
ADDRESSES = {"SocketAddr", "IpAddr", "Ipv4Addr", "Ipv6Addr"}
TEST_MODULE = ["#", "[", "cfg", "(", "test", ")", "]"]


def without_tests(tokens: list[rust_modules.Token]) -> list[rust_modules.Token]:
    """Returns the tokens without `#[cfg(test)] mod name { ... }`."""
    kept, at = [], 0
    while at < len(tokens):
        end = at + len(TEST_MODULE)
        if [token.text for token in tokens[at:end]] == TEST_MODULE and tokens[end].text == "mod":
            depth = 0
            while True:
                depth += {"{": 1, "}": -1}.get(tokens[end].text, 0)
                if depth == 0 and tokens[end].text in ("}", ";"):
                    break
                end += 1
            at = end + 1
        else:
            kept.append(tokens[at])
            at += 1
    return kept


def names_in(text: str) -> list[tuple[str, int]]:
    """Returns the identifiers of a file and their lines, without comments, strings and tests."""
    tokens = without_tests(rust_modules.tokens_of(text))
    is_address = {at for at in range(len(tokens) - 2) if tokens[at].text == "net" and tokens[at + 2].text in ADDRESSES}
    names = [(t.text, t.line) for at, t in enumerate(tokens) if t.kind == "ident" and at not in is_address]
    for at, token in enumerate(tokens):
        # After `std::sync` only Arc is allowed: no glob, no list and no alias.
        if token.text == "sync" and [t.text for t in tokens[at + 1 : at + 3]] != ["::", "Arc"]:
            names.append(("atomic", token.line))
    return names


def sources(folder: str) -> list[pathlib.Path]:
    files = pathlib.Path(folder).rglob("*.rs")
    return sorted(f for f in files if "tests" not in f.parts and f.name != "tests.rs")


def impure_names(text: str) -> list[tuple[str, int]]:
    return [(name, line) for name, line in names_in(text) if name in NAMES]


def main() -> int:
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    faults, files, used = [], 0, set()
    for package, folder in CORES.items():
        command = ["cargo", "tree", "-p", package, "-e", "normal", "--prefix", "none", "--locked"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            return done.returncode
        libraries = {line.split()[0] for line in done.stdout.splitlines() if line}
        faults += [f"{package} depends on {library}, which is not in the list" for library in sorted(libraries - LIBRARIES)]
        core = sources(folder)
        for path in core:
            for name, line in impure_names(path.read_text(encoding="utf-8")):
                faults.append(f"{path}:{line}: {name} in a core")
        if not core or package not in libraries:
            faults.append(f"nothing of {package} was checked")
        files, used = files + len(core), used | libraries
    for path in sources("server/src"):
        if "quic" in path.parts:
            continue
        for name, line in names_in(path.read_text(encoding="utf-8")):
            if name in ("quinn", "quinn_proto"):
                faults.append(f"{path}:{line}: {name} outside of edge/quic/")
    print("\n".join(faults) or f"{files} files and {len(used)} libraries are pure")
    return 1 if faults else 0


def self_test() -> int:
    """Checks one text with impure names and one without."""
    impure = (
        "use std::time::Instant;\nfn f() { tokio::spawn(g()); }\n#[cfg(test)]\nmod tests {\n use std::fs;\n}\n"
        "use std::sync::*;\nfn g() { println!(); }\nuse std::net::UdpSocket;\n"
    )
    pure = (
        '// Mutex\nuse std::net::SocketAddr;\nuse std::sync::Arc;\nfn f() -> &\'static str { "tokio" }\n'
        "#[cfg(test)]\nmod tests {\n fn f() { std::fs::read(); }\n}\n#[cfg(test)]\nmod more;\n"
    )
    found = sorted(name for name, _ in impure_names(impure))
    ok = found == ["Instant", "UdpSocket", "atomic", "net", "println", "tokio"] and impure_names(pure) == []
    print("purity: the check works" if ok else f"purity: found {found} and {impure_names(pure)}")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
