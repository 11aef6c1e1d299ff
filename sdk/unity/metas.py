"""Makes or checks the .meta files of the Unity package.

    python3 sdk/unity/metas.py [--check]

Unity names each asset by the GUID in its .meta file. A package in a git repository must bring these
files, or each installation would have other GUIDs, and references of scenes to its scripts would break.
The GUID is derived from the file's path, so it never changes while the file keeps its place.
"""

import hashlib
import pathlib
import sys

PACKAGE = pathlib.Path(__file__).resolve().parent / "com.nucleus.client"
# Unity ignores folders that end with ~ and hidden files. But it copies samples into the project, and their
# scripts need stable GUIDs there, too.
SAMPLES = "Samples~"
IMPORTERS = {
    ".cs": "MonoImporter:\n  externalObjects: {}\n  serializedVersion: 2\n  defaultReferences: []\n"
           "  executionOrder: 0\n  icon: {instanceID: 0}\n",
    ".asmdef": "AssemblyDefinitionImporter:\n  externalObjects: {}\n",
    ".md": "TextScriptImporter:\n  externalObjects: {}\n",
    ".xml": "TextScriptImporter:\n  externalObjects: {}\n",
}
PACKAGE_IMPORTER = "PackageManifestImporter:\n  externalObjects: {}\n"
DEFAULT_IMPORTER = "DefaultImporter:\n  externalObjects: {}\n"
ENDING = "  userData: \n  assetBundleName: \n  assetBundleVariant: \n"
# Native libraries are built by each user, and Unity makes their .meta files with the settings of the
# platform.
LIBRARIES = {".so", ".dll", ".dylib", ".a", ".bundle"}


def is_asset(path: pathlib.Path) -> bool:
    parts = path.relative_to(PACKAGE).parts
    hidden = any(part.startswith(".") or part.endswith("~") and part != SAMPLES for part in parts)
    return not hidden and path.suffix not in {".meta", *LIBRARIES} and path.name != SAMPLES


def meta(path: pathlib.Path) -> str:
    """Returns the text of an asset's .meta file."""
    name = path.relative_to(PACKAGE).as_posix()
    guid = hashlib.md5(f"com.nucleus.client/{name}".encode()).hexdigest()
    text = f"fileFormatVersion: 2\nguid: {guid}\n"
    if path.is_dir():
        return text + "folderAsset: yes\n" + DEFAULT_IMPORTER + ENDING
    importer = IMPORTERS.get(path.suffix, DEFAULT_IMPORTER)
    return text + (PACKAGE_IMPORTER if name == "package.json" else importer) + ENDING


def faults() -> list[str]:
    """Returns which .meta files are missing, wrong, or of nothing."""
    expected = expected_files()
    found = set(PACKAGE.rglob("*.meta"))
    wrong = [
        path for path, text in expected.items()
        if path in found and path.read_text(encoding="utf-8") != text
    ]
    return [
        *(f"{path}: missing" for path in sorted(expected.keys() - found)),
        *(f"{path}: of no asset" for path in sorted(found - expected.keys()) if not of_library(path)),
        *(f"{path}: not as this script writes it" for path in sorted(wrong)),
    ]


def of_library(path: pathlib.Path) -> bool:
    return pathlib.Path(path.stem).suffix in LIBRARIES


def expected_files() -> dict[pathlib.Path, str]:
    assets = filter(is_asset, PACKAGE.rglob("*"))
    return {path.with_name(path.name + ".meta"): meta(path) for path in assets}


def write() -> None:
    expected = expected_files()
    for path, text in expected.items():
        path.write_text(text, encoding="utf-8")
    for path in set(PACKAGE.rglob("*.meta")) - expected.keys():
        if not of_library(path):
            path.unlink()


def main() -> int:
    if sys.argv[1:] == ["--check"]:
        wrong = faults()
        print("\n".join(wrong) or ".meta files: as they should be")
        return 1 if wrong else 0
    if sys.argv[1:]:
        print(__doc__)
        return 2
    write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
