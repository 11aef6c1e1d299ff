"""Reads the modules of a Rust crate: the paths that each names, and the modules they lead to.

This works on tokens, without a compiler. `mod`, `use` and paths are enough to find which module
names which. Code for tests (`#[cfg(test)]`, modules named `tests`) is not read.
"""

import dataclasses
import pathlib
import re

TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*)
    |(?P<block>/\*)
    |(?P<raw>(?:b|c)?r(?P<fence>\#*)".*?"(?P=fence))
    |(?P<string>(?:b|c)?"(?:[^"\\]|\\.)*")
    |(?P<char>b?'(?:[^'\\]|\\(?:x..|u\{[^}]*\}|.))')
    |(?P<lifetime>'\w+)
    |(?P<ident>(?:r\#)?[A-Za-z_]\w*)
    |(?P<number>\d\w*)
    |(?P<punct>::|.)""",
    re.VERBOSE | re.DOTALL,
)
KINDS = ("ident", "punct", "string", "number", "char", "lifetime", "raw")
BLOCK_EDGE = re.compile(r"/\*|\*/")
DEFINES = {"fn", "struct", "enum", "trait", "type", "const", "static", "union", "macro_rules"}
STARTS_ITEM = DEFINES | {"pub", "mod", "use", "impl", "unsafe", "async", "extern"}
PAIRS = {"(": ")", "[": "]", "{": "}"}


@dataclasses.dataclass
class Token:
    kind: str
    text: str
    line: int


def tokens_of(text: str) -> list[Token]:
    """Returns the tokens of a Rust file, without comments."""
    found, at, line = [], 0, 1
    while at < len(text):
        match = TOKEN.match(text, at)
        end = match.end()
        if match["block"]:
            depth = 1
            while depth and (edge := BLOCK_EDGE.search(text, end)):
                depth += 1 if edge[0] == "/*" else -1
                end = edge.end()
        elif not match["skip"]:
            kind = next(kind for kind in KINDS if match[kind])
            found.append(Token(kind, match[0].removeprefix("r#"), line))
        line += text.count("\n", at, end)
        at = end
    return found


@dataclasses.dataclass
class Reference:
    """A path that a file names."""

    segments: tuple[str, ...]
    file: str
    line: int


@dataclasses.dataclass
class Module:
    path: tuple[str, ...]
    children: dict[str, "Module"] = dataclasses.field(default_factory=dict)
    items: set[str] = dataclasses.field(default_factory=set)
    # Names that `use` imports, and the paths they stand for.
    imports: dict[str, list[tuple[str, ...]]] = dataclasses.field(default_factory=dict)
    # Imports inside functions, which other modules do not see.
    local_imports: dict[str, list[tuple[str, ...]]] = dataclasses.field(default_factory=dict)
    globs: list[tuple[str, ...]] = dataclasses.field(default_factory=list)
    references: list[Reference] = dataclasses.field(default_factory=list)
    # Names without a path, which a glob import can provide.
    names: list[Reference] = dataclasses.field(default_factory=list)


class Reader:
    """Reads one file and the files of its child modules into a module."""

    def __init__(self, base: pathlib.Path, file: pathlib.Path, is_root: bool):
        self.base = base
        self.file = file
        self.shown = str(file.relative_to(base))
        text = file.read_text(encoding="utf-8")
        self.tokens = tokens_of(text)
        self.at = 0
        beside = is_root or file.name == "mod.rs"
        self.folder = file.parent if beside else file.parent / file.stem

    def read(self, module: Module) -> None:
        self.body(module, self.folder, inline=False)

    def peek(self, ahead: int = 0) -> str:
        at = self.at + ahead
        return self.tokens[at].text if at < len(self.tokens) else ""

    def kind(self, ahead: int = 0) -> str:
        at = self.at + ahead
        return self.tokens[at].kind if 0 <= at < len(self.tokens) else ""

    def body(self, module: Module, folder: pathlib.Path, inline: bool) -> None:
        """Reads up to the brace that ends the module, or to the end of the file."""
        depth, path_attribute = 0, None
        while self.at < len(self.tokens):
            text, kind = self.peek(), self.kind()
            if kind == "punct":
                if text == "#" and (self.peek(1) == "[" or self.peek(1) == "!"):
                    inner = self.attribute()
                    if [t.text for t in inner[:2]] == ["path", "="]:
                        path_attribute = inner[2].text.strip('"')
                    if is_test_only(inner):
                        self.skip_item()
                    continue
                if text in PAIRS:
                    depth += 1
                elif text in PAIRS.values():
                    depth -= 1
                    if depth < 0 and inline:
                        self.at += 1
                        return
                self.at += 1
            elif kind != "ident":
                self.at += 1
            elif text == "mod" and self.kind(1) == "ident" and self.peek(2) in (";", "{"):
                self.module(module, folder, inline, path_attribute)
                path_attribute = None
            elif text == "use" and self.at_use():
                self.use(module, local=depth > 0)
            else:
                if text in DEFINES and depth == 0:
                    name = 2 if self.peek(1) == "!" else 1
                    if self.kind(name) == "ident":
                        module.items.add(self.peek(name))
                self.path(module)

    def at_use(self) -> bool:
        """Returns whether this `use` is an item, not the `use<..>` of a return type."""
        return self.peek(1) != "<"

    def attribute(self) -> list[Token]:
        """Skips an attribute. Returns the tokens between its brackets."""
        self.at += 1
        if self.peek() == "!":
            self.at += 1
        if self.peek() != "[":
            return []
        start = self.at + 1
        self.skip_group()
        return self.tokens[start : self.at - 1]

    def skip_group(self) -> None:
        """Skips the bracketed group that begins at the current token."""
        depth = 0
        while self.at < len(self.tokens):
            if self.kind() == "punct":
                depth += (self.peek() in PAIRS) - (self.peek() in PAIRS.values())
            self.at += 1
            if depth == 0:
                return

    def skip_item(self) -> None:
        """Skips the item after a test-only attribute."""
        while self.peek() == "#":
            self.attribute()
        is_item = self.peek() in STARTS_ITEM
        while self.at < len(self.tokens):
            text, kind = self.peek(), self.kind()
            if kind == "punct" and text in PAIRS:
                self.skip_group()
                if text == "{" and not (is_item and self.peek() == ";"):
                    return
            elif kind == "punct" and text in PAIRS.values():
                return
            else:
                self.at += 1
                if text == ";" or (text == "," and not is_item):
                    return

    def module(self, parent: Module, folder: pathlib.Path, inline: bool, path: str | None) -> None:
        name, opens = self.peek(1), self.peek(2) == "{"
        self.at += 3
        if name == "tests":
            if opens:
                self.at -= 1
                self.skip_group()
            return
        # A name that is declared twice is one module with a version for each of two targets.
        child = parent.children.setdefault(name, Module(parent.path + (name,)))
        if opens:
            self.body(child, folder / name, inline=True)
            return
        if path:
            candidates = [(folder if inline else self.file.parent) / path]
        else:
            candidates = [folder / f"{name}.rs", folder / name / "mod.rs"]
        for file in candidates:
            if file.is_file():
                reader = Reader(self.base, file, is_root=path is not None)
                reader.read(child)
                return

    def use(self, module: Module, local: bool) -> None:
        self.at += 1
        line = self.tokens[self.at].line
        if self.peek() == "::":
            # Skip a path of another crate, even if a module of this crate has the same name.
            while self.peek() != ";":
                self.at += 1
        else:
            self.use_tree((), line, module, local)

    def use_tree(self, prefix: tuple[str, ...], line: int, module: Module, local: bool) -> None:
        segments = prefix
        while True:
            text = self.peek()
            if self.kind() == "ident":
                segments += (text,)
                line = self.tokens[self.at].line
                self.at += 1
            elif text == "*":
                self.at += 1
                module.globs.append(segments)
                module.references.append(Reference(segments, self.shown, line))
                return
            elif text == "{":
                self.at += 1
                while self.peek() not in ("}", ""):
                    self.use_tree(segments, line, module, local)
                    if self.peek() == ",":
                        self.at += 1
                self.at += 1
                return
            if self.peek() != "::":
                break
            self.at += 1
        if not segments:
            self.at += 1
            return
        if segments[-1] == "self" and len(segments) > 1:
            segments = segments[:-1]
        name = segments[-1]
        if self.peek() == "as":
            name = self.peek(1)
            self.at += 2
        (module.local_imports if local else module.imports).setdefault(name, []).append(segments)
        module.references.append(Reference(segments, self.shown, line))

    def path(self, module: Module) -> None:
        """Records a path in code, or a name without a path."""
        before = self.tokens[self.at - 1].text if self.at else ""
        line = self.tokens[self.at].line
        segments = [self.peek()]
        self.at += 1
        while self.peek() == "::" and self.kind(1) == "ident":
            segments.append(self.peek(1))
            self.at += 2
        dollar = before == "$" and segments[0] == "crate"
        if before in ("::", ".") or (before == "$" and not dollar):
            return
        reference = Reference(tuple(segments), self.shown, line)
        if len(segments) > 1:
            module.references.append(reference)
        elif segments[0][0].isupper() or self.peek() in ("(", "!"):
            module.names.append(reference)


def is_test_only(attribute: list[Token]) -> bool:
    words = [token.text for token in attribute]
    return words == ["cfg", "(", "test", ")"] or (
        words[:4] == ["cfg", "(", "all", "("] and "test" in words and "not" not in words
    )


@dataclasses.dataclass
class Crate:
    label: str
    root: Module

    def module(self, path: tuple[str, ...]) -> Module:
        module = self.root
        for name in path:
            module = module.children[name]
        return module

    def resolve(self, start: Module, segments: tuple[str, ...]) -> list[Module]:
        """Returns the modules of this crate that a path in `start` leads to or through."""
        search = Search(self)
        search.follow(start, segments, local=True)
        return search.passed


@dataclasses.dataclass
class Search:
    """Follows one path, including re-exports."""

    crate: Crate
    passed: list[Module] = dataclasses.field(default_factory=list)
    # Names that are being looked up, so that a name that stands for itself ends the search.
    open: set[tuple[tuple[str, ...], str]] = dataclasses.field(default_factory=set)

    def follow(
        self, start: Module, segments: tuple[str, ...], local: bool = False
    ) -> Module | None:
        """Records the modules along the path. Returns the module that the path names, if any.

        If `local`, imports inside the functions of `start` count too.
        """
        current, rest = start, list(segments)
        if rest[0] in ("crate", "self", "super"):
            local = False
            if rest[0] == "crate":
                current = self.crate.root
                rest.pop(0)
            while rest and rest[0] in ("self", "super"):
                if rest.pop(0) == "super":
                    current = self.crate.module(current.path[:-1])
            self.passed.append(current)
        for name in rest:
            module = self.step(current, name, local)
            local = False
            if module is None:
                return None
            self.passed.append(module)
            current = module
        return current

    def step(self, current: Module, name: str, local: bool = False) -> Module | None:
        """Returns the module that `name` stands for in module `current`."""
        if name in current.children:
            return current.children[name]
        key = (current.path, name)
        if key in self.open:
            return None
        self.open.add(key)
        targets = list(current.imports.get(name, []))
        if local:
            targets += current.local_imports.get(name, [])
        found = None
        for target in targets:
            found = self.follow(current, target) or found
        if not targets and name not in current.items:
            for glob in current.globs:
                source = Search(self.crate, open=self.open).follow(current, glob)
                if source and source is not current and self.offers(source, name):
                    self.passed.append(source)
                    found = self.step(source, name)
                    break
        self.open.discard(key)
        return found

    def offers(self, module: Module, name: str) -> bool:
        """Returns whether `module` defines or imports `name`."""
        if name in module.items or name in module.children or name in module.imports:
            return True
        key = (module.path, "*" + name)
        if key in self.open:
            return False
        self.open.add(key)
        sources = [Search(self.crate, open=self.open).follow(module, g) for g in module.globs]
        found = any(s and s is not module and self.offers(s, name) for s in sources)
        self.open.discard(key)
        return found


def read_crate(base: pathlib.Path, label: str, root: pathlib.Path) -> Crate:
    """Reads the crate whose root file is `root`. File names are relative to `base`."""
    crate = Crate(label, Module(()))
    Reader(base, root, is_root=True).read(crate.root)
    return crate
