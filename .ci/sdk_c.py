"""Runs the C programs of sdk/c against a server.

    python3 .ci/sdk_c.py LIBRARY NUCLEUS

LIBRARY is the folder with libnucleus.so and libnucleus.a, NUCLEUS the server's program. Needs gcc; with
pkg-config the example is also compiled as an application does.

1. room and misuse, compiled with the address and the undefined behaviour sanitizer, which also find leaks.
2. A thousand joins and frees: memory, threads and files stay as they are.
3. A frame in a room with fifty others: nothing is allocated. The times are printed, not judged.
4. The example, linked with the static library, and by pkg-config.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from token_examples import Server, run

ROOT = pathlib.Path(__file__).resolve().parent.parent
SDK = ROOT / "sdk/c"
TIMEOUT_S = 300
CFLAGS = ["-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-Wall", "-Wextra", "-Werror"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
LIBS = ["-lm", "-lpthread", "-ldl"]
# A table of the library may have grown.
MEMORY_KIB = 64
OTHERS = 50


def compile_program(source: pathlib.Path, to: pathlib.Path, *options: str) -> None:
    command = ["gcc", *CFLAGS, f"-I{SDK / 'include'}", str(source), "-o", str(to), *options, *LIBS]
    subprocess.run(command, check=True, timeout=TIMEOUT_S)


def execute(command: list, library: pathlib.Path) -> str:
    """Runs a program, and returns what it printed."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library)}
    done = subprocess.run(
        [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        text=True, env=environment, timeout=TIMEOUT_S, check=False,
    )
    if done.returncode:
        sys.exit(f"{command[0]} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def write_pkg_config(prefix: pathlib.Path, library: pathlib.Path) -> None:
    """Installs the library as a package would."""
    for folder in ("include", "lib/pkgconfig"):
        (prefix / folder).mkdir(parents=True)
    shutil.copy(SDK / "include/nucleus.h", prefix / "include")
    shutil.copy(library / "libnucleus.so", prefix / "lib")
    text = (SDK / "nucleus.pc.in").read_text(encoding="utf-8")
    text = text.replace("@PREFIX@", str(prefix)).replace("@VERSION@", "0.1.0")
    (prefix / "lib/pkgconfig/nucleus.pc").write_text(text, encoding="utf-8")


def check_linking(folder: pathlib.Path, library: pathlib.Path) -> None:
    """Compiles the example in the ways in which applications do."""
    example = SDK / "examples/headset.c"
    compile_program(example, folder / "headset-static", str(library / "libnucleus.a"))
    usage = subprocess.run([folder / "headset-static"], capture_output=True, text=True, check=False)
    assert usage.returncode == 2 and "usage" in usage.stderr, usage
    if not shutil.which("pkg-config"):
        print("SKIPPED: pkg-config is not installed")
        return
    prefix = folder / "prefix"
    write_pkg_config(prefix, library)
    environment = {**os.environ, "PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig")}
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "nucleus"], env=environment, check=True,
        stdout=subprocess.PIPE, text=True,
    ).stdout.split()
    subprocess.run(
        ["gcc", *CFLAGS, str(example), *flags, "-lm", "-o", str(folder / "headset")], check=True
    )


def main() -> int:
    library, nucleus = (pathlib.Path(argument).resolve() for argument in sys.argv[1:])
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        server = Server(str(nucleus), folder / "server", None)
        try:
            return check(folder, library, str(nucleus), server)
        finally:
            server.end()


def check(folder: pathlib.Path, library: pathlib.Path, nucleus: str, server: Server) -> int:
    def token(user: str) -> str:
        words = ["--product", "atom", "--tenant", "ci", "--user", user]
        return run([nucleus, "token", *words, "--data-dir", server.data]).strip()

    shared = f"-L{library}"
    for name, users in (("room", ["ada", "bob"]), ("misuse", ["ada"])):
        compile_program(SDK / f"tests/c/{name}.c", folder / name, *SANITIZERS, shared, "-lnucleus")
        execute([folder / name, server.address, *map(token, users)], library)
        print(f"{name}: no error, no leak, no undefined behaviour")
    for name in ("leaks", "frame"):
        compile_program(SDK / f"tests/c/{name}.c", folder / name, shared, "-lnucleus")
    leaks = execute([folder / "leaks", server.address, token("ada")], library)
    print(f"leaks: {leaks.strip()}")
    figures = json.loads(leaks)
    assert figures["threads_left"] == 0 and figures["files_more"] == 0, leaks
    assert figures["memory_more_kib"] <= MEMORY_KIB, leaks
    tokens = folder / "tokens"
    tokens.write_text("".join(f"{token(f'peer-{n}')}\n" for n in range(OTHERS + 1)))
    frame = execute([folder / "frame", server.address, tokens], library)
    print(f"frame: {frame.strip()}")
    figures = json.loads(frame)
    assert figures["allocations"] == 0 and figures["poses_a_frame"] >= OTHERS - 1, frame
    assert figures["voice_packets"] > 0, frame
    check_linking(folder, library)
    return 0


if __name__ == "__main__":
    sys.exit(main())
