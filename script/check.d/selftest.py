"""Proves that each rule can fail: a small tree that is right, then the same with one fault for each rule."""

import os
import shutil
import subprocess
import sys
import tempfile

import exceptions
import layers
import text
import tools
from source import Tree

GOOD = {
    "include/trefoil/bytes.h": """/* Views of bytes. */
#ifndef TREFOIL_BYTES_H
#define TREFOIL_BYTES_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tf_bytes {
    int (*read)(void *context);
};

/* The sum of both; and their difference. */
int tf_sum(int a, int b);
int tf_difference(int a, int b);

/* Doubles. */
static inline int tf_double(int a)
{
    return 2 * a;
}

#ifdef __cplusplus
}
#endif

#endif
""",
    "src/base/bytes.c": """/* Views of bytes; see the header. */
#include "base/mem.h"
#include <trefoil/bytes.h>

int tf_sum(int a, int b)
{
    static const char *const names[] = {"{", "}"};

    return a + b + names[0][0];
}

/* Copies. */
void tf_copy(void *to, const void *from, unsigned long length)
{
    memcpy(to, from, length);
}
""",
    "src/base/mem.h": """/* The four functions that every compiler wants. */
#ifndef TF_BASE_MEM_H
#define TF_BASE_MEM_H

void *memcpy(void *to, const void *from, unsigned long length);

#endif
""",
    "src/mqtt/codec.c": "/* Reads. */\n#include <trefoil/bytes.h>\n",
    "src/route/queue.h": "/* Queues. */\n#include <stdlib.h>\n",
    "src/mqtt/server.h": "/* The machine. */\n",
    "src/broker/mqtt_front.c": '/* The front. */\n#include "mqtt/server.h"\n#include "route/queue.h"\n',
    "src/port/socket.c": "/* Sockets. */\n#include <sys/socket.h>\n#if A\n#endif\n#if B\n#endif\n",
    "script/hello": "#!/bin/bash\necho 'usage: hello'\n",
    "docs/coap-conformance.md": "# A\n\n| 1 | `vectors/a.txt: a sum` |\n| 2 | Not ours: it is theirs. |\n",
    "tests/vectors/a.txt": "a sum\n",
    "README.md": "# Hello\n\nSee [below](#hello), [bytes](src/base/bytes.c).\n",
}
LONG = "    a += 1;\n" * 71
# rule, file, what is appended (or the whole file, if it is new), the line where the fault is found
FAULTS = [
    ("layer", "src/mqtt/codec.c", '#include "route/queue.h"\n', 3),
    ("layer", "src/base/a.c", '/* A. */\n#include "mqtt/server.h"\n', 2),
    ("layer", "src/base/a.c", '/* A. */\n#include "base/absent.h"\n', 2),
    ("layer", "src/broker/core.c", '/* C. */\n#include "mqtt/server.h"\n#include "route/queue.h"\n', 3),
    ("layer", "src/other/a.c", "/* A. */\n", 1),
    ("layer", "include/trefoil/mqtt_x.h", '/* A. */\n#include "route/queue.h"\n', 2),
    ("system", "src/broker/core.c", "/* C. */\n#include <unistd.h>\n", 2),
    ("system", "src/mqtt/codec.c", "#include <string.h>\n", 3),
    ("system", "src/route/a.c", "/* A. */\nint tf_a(void)\n{\n    return rand();\n}\n", 4),
    ("cycle", "src/route/queue.h", '#include "route/queue.h"\n', 3),
    ("function", "src/base/a.c", "/* A. */\nvoid tf_a(int a)\n{\n" + LONG + "}\n", 2),
    ("file", "src/base/a.c", "/* A. */\n" + "\n" * 800, 801),
    ("width", "src/base/a.c", "/* A. */\n/* " + "x" * 100 + " */\n", 2),
    ("head", "src/base/a.c", "int tf_a;\n", 1),
    ("if", "src/base/a.c", "/* A. */\n#ifdef X\n#endif\n#if Y\n#endif\n", 2),
    ("document", "include/trefoil/bytes.h", "int tf_bare(void);\n", 30),
    ("document", "include/trefoil/bytes.h", "/* Far away. */\n\nint tf_bare(void);\n", 32),
    ("word", "src/base/a.c", "/* A. */\n/* TO" "DO: finish */\n", 2),
    ("link", "README.md", "[x](docs/none.md)\n", 4),
    ("link", "README.md", "[x](#none)\n", 4),
    ("conformance", "docs/coap-conformance.md", "| 3 | `vectors/b.txt: a sum` |\n", 5),
    ("conformance", "docs/coap-conformance.md", "| 3 | `vectors/a.txt: sums` |\n", 5),
    ("conformance", "docs/coap-conformance.md", "| 3 | yes |\n", 5),
    ("recursion", "src/base/a.c", "/* A. */\nint tf_a(int a)\n{\n    return tf_b(a);\n}\nint tf_b(int a)\n{\n    return tf_a(a);\n}\n", 2),
    ("header", "include/trefoil/a.h", "/* A. */\n#include <base/mem.h>\n", 2),
    ("header", "src/base/mem.h", "size_t tf_a(void);\n", 8),
    ("format", "src/base/a.c", "/* A. */\nint  tf_a(void);\n", 2),
    ("shell", "script/hello", "echo $1\n", 3),
    ("help", "script/mute", "#!/bin/bash\nexit 0\n", 1),
]
CHECKS = {
    "global": tools.check_globals,
    "prefix": tools.check_globals,
    "freestanding": tools.check_freestanding,
    "undefined": tools.check_defined,
}
HEADER = "/* A. */\n/* Sums. */\nint tf_sum(int a);\n"
# rule, C source beside HEADER, line where the fault is found (0: no fault)
OBJECT_FAULTS = [
    ("global", "/* A. */\nint tf_counter = 3;\n", 2),
    ("global", "/* A. */\nint tf_zero;\n", 2),
    ("global", "/* A. */\nint tf_next(void)\n{\n    static int count;\n    return ++count;\n}\n", 4),
    ("global", "/* A. */\n_Thread_local int tf_own;\n", 2),
    ("global", "/* A. */\nconst char *const tf_names[] = {\"a\"};\n", 0),
    ("undefined", "/* A. */\nint tf_sum(int a)\n{\n    return a;\n}\n", 0),
    ("undefined", "/* A. */\nint tf_sun(int a)\n{\n    return a;\n}\n", 3),
    ("prefix", "/* A. */\nint counter(void)\n{\n    return 1;\n}\n", 2),
    ("freestanding", "/* A. */\nvoid *malloc(unsigned long);\nvoid *tf_a(void)\n{\n    return malloc(1);\n}\n", 2),
    ("freestanding", "/* A. */\nunsigned __int128 tf_a(unsigned __int128 a)\n{\n    return a / 3 / a;\n}\n", 0),
]


def write(root, path, content):
    full = os.path.join(root, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "w", encoding="utf-8") as file:
        file.write(content)
    if path.startswith("script/"):
        os.chmod(full, 0o755)


def findings(root, rules):
    tree = Tree(root)
    return [finding for rule in rules for finding in rule(tree)]


def check_text_rules(config):
    """The faults in text; returns how many went unnoticed."""
    rules = layers.RULES + text.RULES + tools.RULES
    missed = 0
    for rule, path, content, line in [(None, None, None, 0)] + FAULTS:
        with tempfile.TemporaryDirectory() as root:
            for name, good in GOOD.items():
                write(root, name, good)
            shutil.copy(config, root)
            if rule:
                write(root, path, GOOD.get(path, "") + content)
            found = findings(root, rules)
        if rule is None:
            missed += report(not found, "a tree without faults", found)
        else:
            hit = any((one.rule, one.path, one.line) == (rule, path, line) for one in found)
            missed += report(hit, f"{rule} in {path}", found)
    return missed


def check_object_rules():
    missed = 0
    for rule, content, line in OBJECT_FAULTS:
        with tempfile.TemporaryDirectory() as root:
            write(root, "src/base/a.c", content)
            write(root, "include/trefoil/a.h", HEADER)
            built = os.path.join(root, "a.o")
            subprocess.run(
                ["cc", "-std=c11", "-fPIC", "-c", "-o", built, os.path.join(root, "src/base/a.c")], check=True
            )
            objects = [(built, "src/base/a.c")]
            tree = Tree(root)
            found = list(CHECKS[rule](tree, objects))
        hit = not found if line == 0 else any((one.rule, one.line) == (rule, line) for one in found)
        missed += report(hit, f"{rule} in an object", found)
    return missed


def check_exceptions():
    """An exception covers its fault, one that covers nothing is a fault, and so is one without a reason."""
    missed = 0
    listed = exceptions.EXCEPTIONS
    for line, expected in [
        ("head src/base/a.c generated elsewhere", []),
        ("width src/base/a.c generated elsewhere", [("exception", listed), ("head", "src/base/a.c")]),
        ("head src/base/a.c", [("exception", listed), ("head", "src/base/a.c")]),
    ]:
        with tempfile.TemporaryDirectory() as root:
            write(root, "src/base/a.c", "int tf_a(void);\n")
            write(root, listed, line + "\n")
            found = exceptions.apply(Tree(root), findings(root, text.RULES))
        hit = sorted((one.rule, one.path) for one in found) == expected
        missed += report(hit, f'exception "{line}"', found)
    return missed


def report(hit, what, found):
    if hit:
        return 0
    print(f"not as it should be: {what}; found: {[str(one) for one in found]}")
    return 1


def main():
    config = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../.clang-format")
    missed = check_text_rules(config) + check_object_rules() + check_exceptions()
    count = 1 + len(FAULTS) + len(OBJECT_FAULTS) + 3
    print(f"script/check --self-test: {count - missed} passed, {missed} failed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
