"""Reads the vector files of the tests: cases of lines, and bytes in their small notation."""

import os
import re

import wire

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vectors")
TOKEN = re.compile(r'\s*(?:"([^"]*)"|([0-9a-fA-F]+)\*\(|((?:[0-9a-fA-F]{2})+)|([][{})]))')


def lines(name):
    """(number, text) of each line that says something."""
    with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.strip() and not line.startswith("#"):
                yield number, line.rstrip("\n")


def octets(text):
    """The bytes of `30 [ {"a"} 00 3*("x" ff) ]`; see the head of mqtt-bad-inputs.txt."""
    at, stack = 0, [("", 0, bytearray())]
    text = text.strip()
    while at < len(text):
        found = TOKEN.match(text, at)
        if not found:
            raise ValueError("no bytes at %r" % text[at:])
        at = found.end()
        string, count, digits, sign = found.groups()
        if string is not None:
            stack[-1][2].extend(string.encode())
        elif count is not None:
            stack.append((")", int(count), bytearray()))
        elif digits is not None:
            stack[-1][2].extend(bytes.fromhex(digits))
        elif sign in "[{":
            stack.append(("]" if sign == "[" else "}", 1, bytearray()))
        else:
            closing, count, body = stack.pop()
            if closing != sign:
                raise ValueError("unpaired %s in %r" % (sign, text))
            head = wire.var(len(body)) if sign == "]" else \
                wire.u16(len(body)) if sign == "}" else b""
            stack[-1][2].extend((head + bytes(body)) * count)
    if len(stack) != 1:
        raise ValueError("something is left open in %r" % text)
    return bytes(stack[0][2])


class Case:
    """One bad input."""

    def __init__(self, head, line):
        words = head.split(None, 4)
        self.row, self.version, self.state = int(words[1]), int(words[2]), words[3]
        self.name, self.line = words[4], line
        self.clause, self.sent, self.answers, self.delivered = "", [], [], []

    def __str__(self):
        return "line %d, row %d, %s, %s" % (self.line, self.row,
                                            {4: "3.1.1", 5: "5.0"}[self.version], self.name)

    @property
    def slug(self):
        """A name that is good for a method and unique in the file."""
        words = self.name.replace("#", "hash").replace("+", "plus")
        return "row%02d_v%d_%s" % (self.row, self.version, re.sub(r"\W+", "_", words).strip("_"))


def bad_inputs():
    cases = []
    for number, line in lines("mqtt-bad-inputs.txt"):
        mark, rest = line.split(None, 1)
        if mark == "row":
            cases.append(Case(line, number))
        elif mark == "clause":
            cases[-1].clause = rest
        elif mark == ">":
            cases[-1].sent.append(octets(rest))
        elif mark == "<":
            cases[-1].answers.append([answer.strip() for answer in rest.split("|")])
        elif mark == "+":
            cases[-1].delivered.append(rest.encode("latin-1").decode("unicode_escape"))
        else:
            raise ValueError("line %d: %s" % (number, line))
    for case in cases:
        if not (case.clause and case.sent and case.answers):
            raise ValueError("%s is not complete" % case)
    if len({case.slug for case in cases}) != len(cases):
        raise ValueError("two cases have the same name")
    return cases
