#!/usr/bin/python3
"""Turns the golden vectors into seeds for the fuzz targets: seeds.py VECTORS OUTPUT.

A vector file is text with bytes in hexadecimal; each run of them on a line becomes a file of OUTPUT, named
by its hash, so that a run again changes nothing. What surrounds the bytes does not matter here. A line that
begins with `text ` is one seed, the bytes of its text.
"""

import hashlib
import os
import re
import sys

HEX = re.compile(r"(?<![0-9A-Za-z_])[0-9A-Fa-f]{2}(?:[ ]?[0-9A-Fa-f]{2})+(?![0-9A-Za-z_])")


def seeds(folder):
    for parent, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            if name.endswith((".py", ".md")):
                continue
            with open(os.path.join(parent, name), "rb") as file:
                data = file.read()
            if b"\0" in data:
                yield data
                continue
            for line in data.decode("utf-8", "replace").split("\n"):
                if line.startswith("text "):
                    yield line[len("text "):].encode()
                    continue
                for match in HEX.finditer(line.split("# ")[0]):
                    yield bytes.fromhex(match.group().replace(" ", ""))


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    vectors, output = sys.argv[1:]
    os.makedirs(output, exist_ok=True)
    count = 0
    for data in seeds(vectors):
        path = os.path.join(output, hashlib.sha256(data).hexdigest()[:16])
        count += 1
        if not os.path.exists(path):
            with open(path, "wb") as file:
                file.write(data)
    print(f"{count} seeds")


main()
