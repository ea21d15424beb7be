"""Rules that need only the text of the files: budgets, comments, words, links."""

import os
import re

from source import CALLED, Finding

FUNCTION_LINES = 70
FILE_LINES = 800
LINE_COLUMNS = 100
CODE_FOLDERS = ("src/", "include/", "tests/", "examples/")
CONDITION = re.compile(r"^[ \t]*#[ \t]*(if|ifdef|ifndef|elif)\b[ \t]*([^\n]*)", re.MULTILINE)
# Parted, so that this file passes its own rule.
UNFINISHED = re.compile(
    r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK|not (yet )?imple" r"mented(?! by)|for n" r"ow"
    r"|place" r"holder|stu" r"b(bed)?)\b"
)
UNFINISHED_IN = ("src/", "include/", "tests/", "script/", "docs/", "examples/", "README.md", "ARCHITECTURE.md")
LINK = re.compile(r"!?\[[^\]\[]*\]\(([^)\s]+)[^)]*\)")
TEST = re.compile(r"`([\w./-]+\.(?:c|py|txt)): ([^`]+)`")  # in a page of conformance
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


def check_functions(tree):
    for source in tree.sources(*CODE_FOLDERS):
        for item in source.items:
            if item.kind != "function":
                continue
            length = source.body_lines(item)
            if length > FUNCTION_LINES:
                yield Finding(
                    "function", source.path, source.line_of(item.start),
                    f"{item.name} has {length} lines, {FUNCTION_LINES} are allowed",
                    "give each of its steps a function with a name, or make its cases a static const table",
                )


def check_files(tree):
    for path in tree.paths:
        name = os.path.basename(path)
        if not name.endswith((".c", ".h", ".py", ".js", ".cmake", ".sh")) and name != "CMakeLists.txt":
            continue
        lines = tree.source(path).lines
        if len(lines) > FILE_LINES:
            yield Finding(
                "file", path, FILE_LINES + 1, f"{len(lines)} lines, {FILE_LINES} are allowed",
                "part it by mechanism: one concept a file",
            )
        if not name.endswith((".c", ".h")):
            continue
        for number, line in enumerate(lines, 1):
            if len(line) > LINE_COLUMNS:
                yield Finding(
                    "width", path, number, f"{len(line)} columns, {LINE_COLUMNS} are allowed",
                    "break the line; script/check --fix does it for code",
                )
        if not tree.source(path).text.startswith("/*"):
            yield Finding(
                "head", path, 1, "the file does not say what it is",
                "begin with a comment: what it is, why, and what it must not know",
            )


def check_conditionals(tree):
    found, lines = [], 0
    for source in tree.sources("src/", "include/"):
        if source.layer == "port":
            continue
        lines += len(source.lines)
        guard = re.match(r"\s*#\s*ifndef\s+(\w+)\s*\n\s*#\s*define\s+\1\b", source.code)
        for match in CONDITION.finditer(source.code):
            is_guard = guard and match.start() <= guard.start(1) and match.group(2).strip() == guard.group(1)
            if not is_guard and "__cplusplus" not in match.group(2):
                found.append((source, match))
    allowed = max(1, lines // 1000)
    if len(found) > allowed:
        for source, match in found:
            yield Finding(
                "if", source.path, source.line_of(match.start()),
                f"one of {len(found)} #if outside src/port, {allowed} are allowed (one in 1,000 lines)",
                "choose by a pointer in a configuration, a file of its own, or in src/port",
            )


def check_documented(tree):
    """Each public function has a comment right above; neighbours without a blank line share one."""
    for source in tree.sources("include/trefoil/"):
        documented_until = None
        for item in source.items:
            if item.name is None or re.fullmatch(r"[A-Z0-9_]+", item.name):
                continue
            before = source.text[: item.start]
            gap = before[len(before.rstrip()) :]
            shares = documented_until is not None and len(before.rstrip()) == documented_until
            if gap.count("\n") <= 1 and (before.rstrip().endswith("*/") or shares):
                documented_until = item.end
                continue
            yield Finding(
                "document", source.path, source.line_of(item.start), f"{item.name} has no comment right above",
                "say what it does, its preconditions, each error with the caller's next step, who owns what, the clause",
            )


def check_words(tree):
    for path in tree.paths:
        if not path.startswith(UNFINISHED_IN) or path.endswith((".bin", ".png", ".svg", "package-lock.json")):
            continue
        for number, line in enumerate(tree.source(path).lines, 1):
            match = UNFINISHED.search(line)
            if match:
                yield Finding(
                    "word", path, number, f'"{match.group()}" marks something unfinished',
                    "finish it, or take it out and say in an issue what is left",
                )


def anchors(text):
    """The names that a Markdown file's headings have as link targets."""
    names = set()
    for line in FENCE.sub("", text).splitlines():
        if line.startswith("#"):
            title = re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower())
            names.add(title.replace(" ", "-"))
    return names


def check_links(tree):
    for path in tree.paths:
        if not path.endswith(".md"):
            continue
        source = tree.source(path)
        text = FENCE.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), source.text)
        for match in LINK.finditer(text):
            target, _, anchor = match.group(1).partition("#")
            if re.match(r"[a-z][a-z0-9+.-]*:", target):
                continue
            other = os.path.normpath(os.path.join(os.path.dirname(path), target)) if target else path
            fault = None
            if not os.path.exists(tree.full(other)):
                fault = f"{match.group(1)} points nowhere"
            elif anchor and other.endswith(".md") and anchor not in anchors(tree.source(other).text):
                fault = f"{other} has no heading #{anchor}"
            if fault:
                yield Finding(
                    "link", path, source.line_of(match.start()), fault,
                    "write the path relative to this file, and the heading as it is",
                )


def check_conformance(tree):
    """The tests that a page of conformance names are there; so is one, or a reason, for each requirement."""
    for path in tree.paths:
        if not re.fullmatch(r"docs/\w+-conformance\.md", path):
            continue
        for number, line in enumerate(tree.source(path).lines, 1):
            tests = TEST.findall(line)
            for file, name in tests:
                other = f"tests/{file}"
                if other not in tree.paths:
                    fault = f"there is no {other}"
                elif not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", tree.source(other).text):
                    fault = f"{other} has no {name}"
                else:
                    continue
                yield Finding("conformance", path, number, fault, "name the test that shows it now, or write one")
            if re.match(r"\| \d", line) and not tests and not re.search(r"\| Not (ours|done): [^|]+\|$", line):
                yield Finding(
                    "conformance", path, number, "a requirement without a test",
                    "name its test, or say why there is none: `Not ours: ...`, `Not done: ...`",
                )


def check_recursion(tree):
    """The freestanding layers have bounded stacks: no function there reaches itself."""
    calls, where = {}, {}
    for source in tree.sources("src/base/", "src/coap/", "src/mqtt/", "src/amqp/"):
        for item in source.items:
            if item.kind == "function":
                key = (source.path if re.search(r"\bstatic\b", item.head) else None, item.name)
                calls[key] = (source.path, set(CALLED.findall(source.plain[item.body[0] : item.body[1]])))
                where[key] = (source, item)
    for key in calls:
        seen, todo = set(), [key]
        while todo:
            path, names = calls[todo.pop()]
            for name in names:
                callee = (path, name) if (path, name) in calls else (None, name)
                if callee in calls and callee not in seen:
                    seen.add(callee)
                    todo.append(callee)
        if key in seen:
            source, item = where[key]
            yield Finding(
                "recursion", source.path, source.line_of(item.start), f"{item.name} reaches itself",
                "use a loop with a bounded array as its stack",
            )


RULES = [
    check_functions, check_files, check_conditionals, check_documented, check_words, check_links, check_conformance,
    check_recursion,
]
