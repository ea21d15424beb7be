"""The gate: runs every rule over the tree, takes off the exceptions, prints what is left with its fix."""

import argparse
import concurrent.futures
import json
import os
import re
import shlex
import subprocess
import sys
import time

import exceptions
import layers
import selftest
import text
import tools
from source import Finding, Tree

FREESTANDING = ["coap", "mqtt", "amqp"]


def build(root, folder):
    """Builds the layers, with warnings as errors. Returns the findings: the compiler's."""
    configure = ["cmake", "-G", "Ninja", "-S", root, "-B", folder, "-DTREFOIL_TESTS=OFF", "-DCMAKE_BUILD_TYPE=None",
                 "-DCMAKE_C_FLAGS=-O1", "-DCMAKE_COMPILE_WARNING_AS_ERROR=ON"]  # fmt: skip
    steps = [["cmake", "--build", folder, "--", "-k", "0"]]
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        steps.insert(0, configure)
    for step in steps:
        result = subprocess.run(step, capture_output=True, text=True, check=False)
        if result.returncode == 0:
            continue
        yield from compiler_errors(root, result.stdout + result.stderr)
        return


def compiler_errors(root, output):
    found = False
    for path, line, fault in re.findall(r"^([^\s:]+):(\d+):\d+: (?:fatal )?error: (.*)$", output, re.MULTILINE):
        found = True
        yield Finding("build", os.path.relpath(path, root), int(line), fault, "mend what the compiler says")
    if not found:
        yield Finding("build", "CMakeLists.txt", 1, f"the build failed:\n{output[-2000:]}", "see the output")


def check_clang(root, folder):
    """The same files once more through clang's warnings; nothing is built."""

    def compile_one(command):
        arguments = command["command"].split()
        output = arguments.index("-o")
        arguments[output : output + 2] = ["-fsyntax-only", "-Wno-unknown-warning-option"]
        arguments[0] = "clang-14"
        return subprocess.run(
            shlex.split(" ".join(arguments)), cwd=command["directory"], capture_output=True, text=True, check=False
        )

    with open(os.path.join(folder, "compile_commands.json"), encoding="utf-8") as file:
        commands = json.load(file)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for result in pool.map(compile_one, commands):
            if result.returncode:
                yield from compiler_errors(root, result.stderr)


def check_objects(tree, folder):
    every = list(tools.built_objects(folder, layers.BELOW))
    yield from tools.check_globals(tree, every)
    yield from tools.check_defined(tree, tools.built_objects(folder, ["base", *FREESTANDING]))
    reported = set()
    for protocol in FREESTANDING:
        for finding in tools.check_freestanding(tree, tools.built_objects(folder, ["base", protocol])):
            key = (finding.path, finding.fault)
            if key not in reported:
                reported.add(key)
                yield finding


def main():
    parser = argparse.ArgumentParser(
        prog="script/check",
        description="Checks what no compiler does: format, layers, budgets, documentation, the freestanding build. "
        "Prints each fault with its place and its fix; exits 1 if there is any.",
    )
    parser.add_argument("--fix", action="store_true", help="format the C files, then check")
    parser.add_argument("--self-test", action="store_true", help="prove that each rule can fail")
    parser.add_argument("--no-build", action="store_true", help="leave out the rules that need a build")
    options = parser.parse_args()
    if options.self_test:
        return selftest.main()

    start = time.monotonic()
    tree = Tree(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    if options.fix:
        tools.format_in_place(tree)
    findings = []
    for rule in layers.RULES + text.RULES + tools.RULES:
        findings += rule(tree)
    if not options.no_build:
        folder = tree.full("build/check")
        broken = list(build(tree.root, folder))
        if not broken:
            findings += check_clang(tree.root, folder)
            findings += check_objects(tree, folder)
        findings += broken
    findings = exceptions.apply(tree, findings)
    for finding in sorted(findings, key=lambda finding: (finding.path, finding.line, finding.rule)):
        print(finding)
    seconds = time.monotonic() - start
    print(f"script/check: {len(findings)} faults in {len(tree.paths)} files, {seconds:.0f} s")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
