"""Who may include whom: the layers, the headers of the system, and no cycle."""

import re

from source import Finding

PROTOCOLS = {"coap", "mqtt", "amqp"}
BELOW = {
    "base": set(),
    "coap": {"base"},
    "mqtt": {"base"},
    "amqp": {"base"},
    "store": {"base"},
    "route": {"base", "store"},
    "port": {"base"},
    "broker": {"base", "store", "route", "port"} | PROTOCOLS,
    "cli": {"base", "store", "route", "port", "broker"} | PROTOCOLS,
}
FREESTANDING = {"stdint.h", "stddef.h", "stdbool.h", "limits.h"}
CORE = FREESTANDING | {"inttypes.h", "stdalign.h", "stdatomic.h", "stdlib.h", "string.h"}
HOSTED = CORE | {
    "ctype.h", "errno.h", "float.h", "math.h", "stdarg.h", "stdio.h", "strings.h", "time.h",
}
SYSTEM_HEADERS = {
    "base": FREESTANDING,
    "coap": FREESTANDING,
    "mqtt": FREESTANDING,
    "amqp": FREESTANDING,
    "store": CORE,
    "route": CORE,
    "broker": HOSTED | {"jansson.h", "mimalloc.h"},
    "cli": HOSTED | {"getopt.h", "jansson.h"},
}
# Where in the broker protocols and routing meet: the fronts, and the mapping between protocols.
MEETING = re.compile(r"_front|/mapping(_\w+)?\.[ch]$")
# What <stdlib.h> has that would give the core surroundings of its own.
NOT_IN_CORE = re.compile(r"\b(abort|exit|_Exit|quick_exit|getenv|rand|srand|system)\s*\(")


def layer_of(source):
    """The layer a file belongs to; a public header's name begins with its protocol's, or it is base's."""
    if source.layer:
        return source.layer
    if source.path.startswith("include/trefoil/"):
        name = source.path.split("/")[-1]
        for protocol in PROTOCOLS:
            if name == protocol + ".h" or name.startswith(protocol + "_"):
                return protocol
        return "base"
    return None


def resolve(tree, angled, name):
    """The path of the repository's file that is included, or None for one of the system's."""
    path = ("include/" if angled else "src/") + name
    return path if path in tree.paths else None


def included(tree, source):
    """(line, path) of each file of the repository that `source` includes."""
    for line, angled, name in source.includes():
        path = resolve(tree, angled, name)
        if path:
            yield line, path


def check_layers(tree):
    for source in tree.sources("src/", "include/"):
        layer = layer_of(source)
        if layer not in BELOW:
            yield Finding(
                "layer", source.path, 1, f"src/{layer} is no layer",
                "put the file into a layer of script/check.d/layers.py, or add the layer there and to CMakeLists.txt",
            )
            continue
        knows_protocol = knows_route = None
        for line, angled, name in source.includes():
            path = resolve(tree, angled, name)
            if path is None:
                yield from check_foreign(source, layer, line, angled, name)
                continue
            other = layer_of(tree.source(path))
            if other != layer and other not in BELOW[layer]:
                allowed = ", ".join(sorted(BELOW[layer] | {layer}))
                yield Finding(
                    "layer", source.path, line, f"{layer} must not know {other} ({name})",
                    f"{layer} may include {allowed}: pass what is needed in by a parameter or an interface, or move it down",
                )
            knows_protocol = line if other in PROTOCOLS else knows_protocol
            knows_route = line if other == "route" else knows_route
        if layer == "broker" and knows_protocol and knows_route and not MEETING.search(source.path):
            yield Finding(
                "layer", source.path, max(knows_protocol, knows_route),
                "knows a protocol and the routing, which only a front and the mapping do",
                "move what needs both into the protocol's src/broker/<protocol>_front*.c",
            )


def check_foreign(source, layer, line, angled, name):
    """An include that is none of the repository's files."""
    if not angled or name.startswith("trefoil/"):
        yield Finding(
            "layer", source.path, line, f"{name} is not there",
            'private headers are included as "layer/name.h" from src, public ones as <trefoil/name.h>',
        )
    elif layer in SYSTEM_HEADERS and name not in SYSTEM_HEADERS[layer]:
        if layer in ("base", *PROTOCOLS):
            fix = f"{layer} is freestanding: only {', '.join(sorted(FREESTANDING))}, and base/mem.h for memcpy and its kind"
        else:
            fix = "only src/port makes system calls: add what you need to a header in src/port, or pass it in"
        yield Finding("system", source.path, line, f"<{name}> is not for src/{layer}", fix)


def check_core_calls(tree):
    for source in tree.sources("src/store/", "src/route/"):
        for match in NOT_IN_CORE.finditer(source.code):
            yield Finding(
                "system", source.path, source.line_of(match.start()),
                f"{match.group(1)}() has no place in the core",
                "use tf_assert, or give the core what it needs as an argument",
            )


def check_cycles(tree):
    done, path_now = set(), []

    def visit(path):
        if path in path_now:
            cycle = path_now[path_now.index(path) :] + [path]
            last = tree.source(cycle[-2])
            line = next(line for line, other in included(tree, last) if other == path)
            yield Finding(
                "cycle", last.path, line, "include cycle: " + " -> ".join(cycle),
                "declare the struct (struct x;) instead of including its header, or part the headers",
            )
            return
        if path in done:
            return
        path_now.append(path)
        for _, other in included(tree, tree.source(path)):
            yield from visit(other)
        path_now.pop()
        done.add(path)

    for source in tree.sources("src/", "include/"):
        yield from visit(source.path)


RULES = [check_layers, check_core_calls, check_cycles]
