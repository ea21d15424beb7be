"""Reads the tree and takes C sources apart, as far as the rules need it.

Not a parser of C: comments and strings are blanked, then braces are counted. That is enough for code that
clang-format has laid out, and it does not depend on what the compiler's preprocessor leaves over.
"""

import functools
import os
import re
import subprocess
from dataclasses import dataclass

TOKEN = re.compile(
    r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL
)
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)
CALLED = re.compile(r"(?<!->)(?<!\.)\b([A-Za-z_]\w*)\s*\(")  # not by a pointer in a struct
TABLE = re.compile(r"\bstatic\s+const\b[^;{}=]*=\s*\{")
SKIPPED_FOLDERS = {".git", "build", "node_modules", "__pycache__"}


@dataclass
class Finding:
    """One fault, and what to do about it."""

    rule: str
    path: str
    line: int
    fault: str
    fix: str

    def __str__(self):
        return f"{self.path}:{self.line}: {self.rule}: {self.fault}\n    fix: {self.fix}"


@dataclass
class Item:
    """What stands at a file's top level: a function with a body, a statement, or any other block."""

    kind: str  # "function", "statement" or "block"
    start: int  # offset of its first character
    end: int  # offset behind its last
    head: str  # up to the first brace or the semicolon
    body: tuple = (0, 0)  # offsets of a function's braces

    @property
    def name(self):
        """The function it defines or declares; None if it is something else."""
        if self.kind == "block" or self.head.startswith(("typedef", "_Static_assert")):
            return None
        depth = 0
        for match in re.finditer(r"[()]|\b([A-Za-z_]\w*)\s*(?=\()", self.head):
            if match.group(1):
                if depth == 0 and match.group(1) != "__attribute__":
                    return match.group(1)
            else:
                depth += 1 if match.group() == "(" else -1
        return None


class Source:
    """One file. `code` is its text with comments and the insides of strings blanked, offsets kept."""

    def __init__(self, root, path):
        self.path = path
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            self.text = file.read()
        parts = path.split("/")
        self.layer = parts[1] if parts[0] == "src" and len(parts) > 2 else None

    @functools.cached_property
    def lines(self):
        return self.text.splitlines()

    @functools.cached_property
    def code(self):
        def blank(match):
            text = match.group()
            if text[0] == "/":
                return re.sub(r"[^\n]", " ", text)
            return text[0] + " " * (len(text) - 2) + text[-1]

        return TOKEN.sub(blank, self.text)

    @functools.cached_property
    def plain(self):
        """The code without preprocessor lines."""
        return DIRECTIVE.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), self.code)

    def line_of(self, offset):
        return self.text.count("\n", 0, offset) + 1

    def includes(self):
        """(line, whether in angle brackets, name) of each #include."""
        for match in INCLUDE.finditer(self.text):
            if self.code[match.start() : match.end()].strip():
                yield self.line_of(match.start()), match.group(1) == "<", match.group(2)

    @functools.cached_property
    def items(self):
        return list(self._items())

    def _items(self):
        text = self.plain
        start, depth, opened, extern = None, 0, 0, 0
        for match in re.finditer(r"[{};]|[^\s{};]+", text):
            token, at = match.group(), match.start()
            if depth == 0 and start is None and token not in "};":
                start = at
            if token == "{":
                if depth == 0 and re.fullmatch(r'extern\s*" "\s*', text[start:at]):
                    start, extern = None, extern + 1
                    continue
                if depth == 0 and start is not None:
                    opened = at
                depth += 1
            elif token == "}":
                if depth == 0:
                    extern -= 1
                    continue
                depth -= 1
                head = text[start:opened].strip()
                if depth == 0 and head.endswith(")") and "=" not in head:
                    yield Item("function", start, at + 1, head, (opened, at))
                    start = None
            elif token == ";" and depth == 0 and start is not None:
                whole = text[start:at]
                kind = "block" if "{" in whole else "statement"
                yield Item(kind, start, at + 1, whole.split("{")[0].strip())
                start = None

    def body_lines(self, item):
        """A function's length: without blanks, comments and tables that are static const."""
        first, last = item.body
        body = self.code[first + 1 : last]
        for match in reversed(list(TABLE.finditer(body))):
            depth, end = 1, match.end()
            while depth and end < len(body):
                depth += {"{": 1, "}": -1}.get(body[end], 0)
                end += 1
            body = body[: match.start()] + body[body.find(";", end) + 1 :]
        return sum(1 for line in body.splitlines() if line.strip())


class Tree:
    """The repository's own files: what git tracks or would, or all that is not built."""

    def __init__(self, root):
        self.root = root
        self._sources = {}
        self.paths = sorted(path for path in self._list() if os.path.isfile(self.full(path)))

    def _list(self):
        try:
            out = subprocess.run(
                ["git", "-C", self.root, "ls-files", "-co", "--exclude-standard", "-z"],
                capture_output=True, check=True, text=True,
            ).stdout
            if os.path.exists(self.full(".git")):
                return [path for path in set(out.split("\0")) if path]
        except (OSError, subprocess.CalledProcessError):
            pass
        found = []
        for folder, folders, files in os.walk(self.root):
            folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
            found += [os.path.relpath(os.path.join(folder, name), self.root) for name in files]
        return found

    def full(self, path):
        return os.path.join(self.root, path)

    def source(self, path):
        if path not in self._sources:
            self._sources[path] = Source(self.root, path)
        return self._sources[path]

    def sources(self, *folders):
        """The C files below these folders, or all of them."""
        for path in self.paths:
            if path.endswith((".c", ".h")) and (not folders or path.startswith(folders)):
                yield self.source(path)

    def scripts(self):
        """Shell scripts, known by their first line."""
        for path in self.paths:
            if "." not in os.path.basename(path) or path.endswith(".sh"):
                with open(self.full(path), "rb") as file:
                    if re.match(rb"#!.*\b(ba)?sh\b", file.readline()):
                        yield path
