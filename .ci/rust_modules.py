"""Reads the modules of a Rust crate: which paths each writes down, and what these lead to.

No compiler: it looks at tokens. `mod`, `use` and paths are enough to say which module names which.
Code for tests (`#[cfg(test)]`, modules named `tests`) is left out.
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
    """The tokens of a Rust file, without comments."""
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
    """A path that a file writes down."""

    segments: tuple[str, ...]
    file: str
    line: int


@dataclasses.dataclass
class Module:
    path: tuple[str, ...]
    children: dict[str, "Module"] = dataclasses.field(default_factory=dict)
    items: set[str] = dataclasses.field(default_factory=set)
    # Names that `use` brings in, and what they stand for.
    imports: dict[str, list[tuple[str, ...]]] = dataclasses.field(default_factory=dict)
    # The same inside functions: other modules do not see these.
    local_imports: dict[str, list[tuple[str, ...]]] = dataclasses.field(default_factory=dict)
    globs: list[tuple[str, ...]] = dataclasses.field(default_factory=list)
    references: list[Reference] = dataclasses.field(default_factory=list)
    # Lone names: they can come through a glob import.
    names: list[Reference] = dataclasses.field(default_factory=list)


class Reader:
    """Reads one file into its module, and the files of its child modules."""

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
        """`use` as an item, not the `use<..>` of a return type."""
        return self.peek(1) != "<"

    def attribute(self) -> list[Token]:
        """Passes an attribute; the tokens between its brackets."""
        self.at += 1
        if self.peek() == "!":
            self.at += 1
        if self.peek() != "[":
            return []
        start = self.at + 1
        self.skip_group()
        return self.tokens[start : self.at - 1]

    def skip_group(self) -> None:
        """Passes a bracketed group that begins here."""
        depth = 0
        while self.at < len(self.tokens):
            if self.kind() == "punct":
                depth += (self.peek() in PAIRS) - (self.peek() in PAIRS.values())
            self.at += 1
            if depth == 0:
                return

    def skip_item(self) -> None:
        """Passes what a test-only attribute stands before."""
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
        # Two declarations of one name are two targets' versions of one module.
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
            # A path of another crate, whatever this crate's modules are called.
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
        """Passes a path in code, or a lone name."""
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
        """The modules of this crate that a path in the code of `start` leads to or through."""
        search = Search(self)
        search.follow(start, segments, local=True)
        return search.passed


@dataclasses.dataclass
class Search:
    """Follows one path, also through re-exports."""

    crate: Crate
    passed: list[Module] = dataclasses.field(default_factory=list)
    # Names that are being looked up: a name that stands for itself leads nowhere.
    open: set[tuple[tuple[str, ...], str]] = dataclasses.field(default_factory=set)

    def follow(
        self, start: Module, segments: tuple[str, ...], local: bool = False
    ) -> Module | None:
        """Notes the modules on the way; the module that the path itself names, if it is one.

        `local`: imports inside the functions of `start` count too.
        """
        here, rest = start, list(segments)
        if rest[0] in ("crate", "self", "super"):
            local = False
            if rest[0] == "crate":
                here = self.crate.root
                rest.pop(0)
            while rest and rest[0] in ("self", "super"):
                if rest.pop(0) == "super":
                    here = self.crate.module(here.path[:-1])
            self.passed.append(here)
        for name in rest:
            module = self.step(here, name, local)
            local = False
            if module is None:
                return None
            self.passed.append(module)
            here = module
        return here

    def step(self, here: Module, name: str, local: bool = False) -> Module | None:
        """The module that `name` stands for in module `here`."""
        if name in here.children:
            return here.children[name]
        key = (here.path, name)
        if key in self.open:
            return None
        self.open.add(key)
        targets = list(here.imports.get(name, []))
        if local:
            targets += here.local_imports.get(name, [])
        found = None
        for target in targets:
            found = self.follow(here, target) or found
        if not targets and name not in here.items:
            for glob in here.globs:
                source = Search(self.crate, open=self.open).follow(here, glob)
                if source and source is not here and self.offers(source, name):
                    self.passed.append(source)
                    found = self.step(source, name)
                    break
        self.open.discard(key)
        return found

    def offers(self, module: Module, name: str) -> bool:
        """Whether `module` defines or imports `name`."""
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
    """The crate whose root file is `root`. Its files are named as seen from `base`."""
    crate = Crate(label, Module(()))
    Reader(base, root, is_root=True).read(crate.root)
    return crate
