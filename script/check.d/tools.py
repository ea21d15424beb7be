"""Rules that another program checks: clang-format, shellcheck, the compiler's objects, the scripts themselves."""

import os
import re
import subprocess

from source import Finding

LIBC = {"memcpy", "memmove", "memset", "memcmp"}
# What a compiler calls for arithmetic that the processor has no instruction for.
HELPER = re.compile(r"__(u?div|u?mod|u?divmod|mul|ashl|ashr|lshr|u?cmp|clz|ctz|popcount|parity|bswap|aeabi_)\w*")
LINKER = {"_GLOBAL_OFFSET_TABLE_"}
WRITABLE = re.compile(r"\.(data|bss|tdata|tbss)(\.|$)|\*COM\*")
CONSTANT = re.compile(r"\.data\.rel\.ro")


def run(arguments, **options):
    return subprocess.run(arguments, capture_output=True, text=True, check=False, **options)


def c_files(tree):
    return [source.path for source in tree.sources("src/", "include/", "tests/", "examples/")]


def format_in_place(tree):
    paths = c_files(tree)
    if paths:
        subprocess.run(["clang-format-14", "-i", *paths], cwd=tree.root, check=True)


def check_format(tree):
    paths = c_files(tree)
    half = (len(paths) + 1) // 2
    parts = [part for part in (paths[:half], paths[half:]) if part]
    running = [
        subprocess.Popen(
            ["clang-format-14", "--dry-run", "-Werror", *part],
            cwd=tree.root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for part in parts
    ]
    seen = set()
    for process in running:
        for line in process.communicate()[1].splitlines():
            match = re.match(r"([^:]+):(\d+):\d+: error", line)
            if match and match.group(1) not in seen:  # the first of a file tells enough
                seen.add(match.group(1))
                yield Finding(
                    "format", match.group(1), int(match.group(2)), "not as clang-format 14 lays it out",
                    "script/check --fix",
                )


def check_shell(tree):
    paths = list(tree.scripts())
    if not paths:
        return
    for line in run(["shellcheck", "-x", "-f", "gcc", *paths], cwd=tree.root).stdout.splitlines():
        match = re.match(r"([^:]+):(\d+):\d+: \w+: (.*) \[(SC\d+)\]", line)
        if match:
            path, number, fault, code = match.groups()
            yield Finding("shell", path, int(number), fault, f"shellcheck's wiki explains {code}")


def check_help(tree):
    for path in tree.scripts():
        if not path.startswith("script/") or path == "script/check":
            continue
        try:
            result = run([tree.full(path), "--help"], timeout=5)
            ok = result.returncode == 0 and "usage:" in result.stdout
        except (OSError, subprocess.TimeoutExpired):
            ok = False
        if not ok:
            yield Finding(
                "help", path, 1, "--help does not print a usage",
                "answer -h and --help on stdout with a text that begins with `usage:`, and make it executable",
            )


def check_headers(tree):
    """Each header compiles by itself, the public ones without the private."""
    running = []
    for source in tree.sources("src/", "include/"):
        if source.path.endswith(".h"):
            folders = ["-Iinclude"] if source.path.startswith("include/") else ["-Iinclude", "-Isrc"]
            command = ["cc", "-std=c17", "-D_GNU_SOURCE", "-fsyntax-only", *folders, "-x", "c", source.path]
            process = subprocess.Popen(
                command, cwd=tree.root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                env={**os.environ, "LC_ALL": "C"},
            )
            running.append((source.path, process))
        if len(running) >= 4:
            yield from header_faults(*running.pop(0))
    for path, process in running:
        yield from header_faults(path, process)


def header_faults(path, process):
    output = process.communicate()[1]
    if process.returncode:
        match = re.search(r"^([^\s:]+):(\d+):\d+: (?:fatal )?error: (.*)$", output, re.MULTILINE)
        yield Finding(
            "header", path, int(match.group(2)) if match and match.group(1) == path else 1,
            "does not compile by itself: " + (match.group(3) if match else output[:200]),
            "include what it uses, or declare the struct; a public header includes only public ones",
        )


def locate(tree, path, name):
    """The line of `name`'s first mention in the code of `path`; a function's static has a number behind."""
    source = tree.source(path)
    match = re.search(rf"\b{re.escape(name.split('.')[0])}\b", source.code)
    return source.line_of(match.start()) if match else 1


def built_objects(build, layers):
    """(object, source) of each file of these layers in the build folder."""
    for layer in layers:
        folder = os.path.join(build, "CMakeFiles", f"tf-{layer}.dir", "src", layer)
        if os.path.isdir(folder):
            for name in sorted(os.listdir(folder)):
                if name.endswith(".c.o"):
                    yield os.path.join(folder, name), f"src/{layer}/{name[:-2]}"


def symbols(objects):
    """(source, section, kind, name) of each symbol in the objects' tables; kind is O, F or empty."""
    objects = [pair for pair in objects if os.path.exists(pair[0])]
    if not objects:
        return
    sources = dict(objects)
    current = None
    out = run(["objdump", "-t", "-w", *sources], env={**os.environ, "LC_ALL": "C"}).stdout
    for line in out.splitlines():
        if ":     file format" in line:
            current = sources[line.split(":     file format")[0]]
        match = re.match(r"[0-9a-f]{8,} (.{7}) (\S+)\s+[0-9a-f]+\s+(?:\.(?:hidden|internal|protected) )?(\S+)$", line)
        if match:
            flags, section, name = match.groups()
            yield current, section, flags, name


def check_globals(tree, objects):
    for path, section, flags, name in symbols(objects):
        if not os.path.exists(tree.full(path)):
            continue  # an object of a file that has gone
        if WRITABLE.match(section) and not CONSTANT.match(section) and flags[5] != "d":
            yield Finding(
                "global", path, locate(tree, path, name), f"{name} can be changed ({section})",
                "make it const, or a member of a struct that the caller passes",
            )
        elif flags[0] in "gu" and section.startswith(".") and not name.startswith("tf_") and name != "main":
            yield Finding(
                "prefix", path, locate(tree, path, name), f"{name} is visible to the linker without the tf_ prefix",
                "make it static, or name it tf_<module>_<noun>_<verb>",
            )


def check_defined(tree, objects):
    """What a public header declares is there: a function of one of the `objects`."""
    defined = {name for _, section, _, name in symbols(objects) if section != "*UND*"}
    for source in tree.sources("include/trefoil/"):
        for item in source.items:
            if item.kind == "statement" and item.name and item.name not in defined:
                yield Finding(
                    "undefined", source.path, source.line_of(item.start), f"{item.name} is declared and nowhere defined",
                    "write it in a freestanding layer, or take the declaration out",
                )


def check_freestanding(tree, objects):
    """`objects` are those of one archive; what one of them defines another may use."""
    defined, wanted = set(), []
    for path, section, _, name in symbols(objects):
        if section == "*UND*":
            wanted.append((path, name))
        else:
            defined.add(name)
    for path, name in wanted:
        if name in defined or name in LIBC or name in LINKER or HELPER.fullmatch(name):
            continue
        if os.path.exists(tree.full(path)):
            yield Finding(
                "freestanding", path, locate(tree, path, name), f"needs {name}, which a firmware does not have",
                "only memcpy, memmove, memset, memcmp (base/mem.h) and the compiler's helpers are there",
            )


RULES = [check_format, check_shell, check_help, check_headers]
