"""Builds the Unity package without Unity, and runs its tests.

    python3 .ci/unity.py LIBDIR NUCLEUS [NAME]

LIBDIR is the directory of libnucleus.so, NUCLEUS the server's program. With NAME, only tests whose names
contain it run. Needs mcs and mono.

1. The .meta files are those of sdk/unity/metas.py, and the shell scripts have no errors of syntax.
2. Everything compiles: the client, the components, the editor's part and the samples against stubs of
   Unity, the tests, and the example. Warnings are errors.
3. The tests pass against a server of this script.
4. Two examples meet in a room.
"""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

from token_examples import ENVIRONMENT, Server, run

UNITY = pathlib.Path("sdk/unity")
PACKAGE = UNITY / "com.nucleus.client"
# 649: fields of the C library's structs that only the library sets.
COMPILER = ["mcs", "-langversion:7", "-warn:4", "-warnaserror", "-nowarn:649"]
TESTS = ["Nucleus.Client.Tests", "Nucleus.Client.UnityTests"]
TESTS_TIMEOUT_S = 160
EXAMPLE_S = 3
# The tests of allocations count collections, so a small young generation shows them early. The system's
# allocator has an arena for each of a few threads, not of each client that the tests have made.
MONO = {"MONO_GC_PARAMS": "nursery-size=512k", "MALLOC_ARENA_MAX": "2"}


def sources(*patterns: str) -> list[str]:
    files = [str(file) for pattern in patterns for file in sorted(PACKAGE.glob(pattern))]
    assert files, patterns
    return files


def compile_all(build: pathlib.Path) -> None:
    """Compiles everything into a directory, in the order of the references."""

    def compiled(output: str, files: list[str], *references: str, unsafe: bool = False) -> None:
        kind = "library" if output.endswith(".dll") else "exe"
        command = [*COMPILER, f"-target:{kind}", f"-out:{build / output}"]
        command += ["-unsafe"] if unsafe else []
        command += [f"-r:{build / reference}" for reference in references]
        subprocess.run([*command, *files], check=True, env=ENVIRONMENT)

    client, stubs, components = "Nucleus.Client.dll", "UnityStubs.dll", "Nucleus.Client.Unity.dll"
    editor, samples = "Nucleus.Client.Editor.dll", "Samples.dll"
    compiled(client, sources("Runtime/Client/*.cs", "Runtime/Native/*.cs"), unsafe=True)
    compiled(stubs, sources("Tests~/UnityStubs/*.cs"))
    compiled(components, sources("Runtime/Unity/*.cs"), client, stubs)
    compiled(editor, sources("Editor/*.cs"), client, stubs, components)
    compiled(samples, sources("Samples~/*/*.cs"), client, stubs, components)
    tests = [file for file in sources("Tests~/*.cs") if not file.endswith("/Resume.cs")]
    compiled("Nucleus.Client.Tests.exe", tests, client, unsafe=True)
    compiled("Resume.exe", sources("Tests~/Resume.cs"), client)
    unity_tests = sources("Tests~/Runner.cs", "Tests~/Unity/*.cs")
    references = (client, stubs, components, editor, samples)
    compiled("Nucleus.Client.UnityTests.exe", unity_tests, *references)
    compiled("Hello.exe", [str(UNITY / "examples/Hello.cs")], client)


def run_tests(build: pathlib.Path, library: str, server: Server, nucleus: str, name: str) -> bool:
    """Returns whether all tests pass."""
    passed = True
    for program in TESTS:
        command = ["mono", "--debug", f"{program}.exe", server.address, nucleus, server.data, name]
        # A group of its own, with the programs that the tests start.
        process = subprocess.Popen(
            command, cwd=build, env=environment(library), stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            passed &= process.wait(TESTS_TIMEOUT_S) == 0
        except subprocess.TimeoutExpired:
            print(f"{program} did not end within {TESTS_TIMEOUT_S} s")
            passed = False
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return passed


def run_examples(build: pathlib.Path, library: str, server: Server, nucleus: str) -> bool:
    """Returns whether two examples see each other."""
    with contextlib.ExitStack() as stack:
        examples = {}
        for user, other in (("ada", "bob"), ("bob", "ada")):
            words = ["--product", "atom", "--tenant", "ci", "--user", user]
            token = run([nucleus, "token", *words, "--data-dir", server.data]).strip()
            command = ["mono", "Hello.exe", server.address, token, str(EXAMPLE_S)]
            process = stack.enter_context(subprocess.Popen(
                command, cwd=build, env=environment(library), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, encoding="utf-8",
            ))
            stack.callback(process.kill)
            examples[other] = process
        passed = True
        for other, process in examples.items():
            output = process.communicate(timeout=TESTS_TIMEOUT_S)[0]
            sees = re.search(rf"^{other} is at \(", output, re.MULTILINE) is not None
            if not sees or process.returncode:
                print(f"an example did not see {other}:\n{output}")
                passed = False
    print("the examples met" if passed else "the examples did not meet")
    return passed


def environment(library: str) -> dict[str, str]:
    return {**ENVIRONMENT, **MONO, "LD_LIBRARY_PATH": library}


def main() -> int:
    library, nucleus = (os.path.abspath(path) for path in sys.argv[1:3])
    name = sys.argv[3] if len(sys.argv) > 3 else ""
    metas = subprocess.run([sys.executable, "-B", UNITY / "metas.py", "--check"], check=False)
    for script in sorted(UNITY.glob("scripts/*.sh")):
        subprocess.run(["bash", "-n", script], check=True)
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        build = pathlib.Path(directory, "build")
        build.mkdir()
        compile_all(build)
        print("everything compiles", flush=True)
        server = Server(nucleus, pathlib.Path(directory, "server"), None)
        stack.callback(server.end)
        passed = run_tests(build, library, server, nucleus, name)
        passed &= run_examples(build, library, server, nucleus)
    passed &= metas.returncode == 0
    print("the Unity package is in order" if passed else "the Unity package has faults")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
