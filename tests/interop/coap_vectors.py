"""Reads tests/vectors/coap-bad-inputs.txt; its notation is described at its head."""

import re

import vectors

FILE = "coap-bad-inputs.txt"
TOKEN = re.compile(r'\s*(?:"([^"]*)"|(\d+)\*([0-9a-fA-F]{2})|((?:[0-9a-fA-F]{2}|\?\?)+)|(\*)|(-))')


def _tokens(text):
    at, text = 0, text.strip()
    while at < len(text):
        found = TOKEN.match(text, at)
        if not found:
            raise ValueError("no bytes at %r" % text[at:])
        at = found.end()
        yield found.groups()


def octets(text):
    """The bytes of a datagram."""
    out = b""
    for string, count, byte, digits, star, _ in _tokens(text):
        if star or (digits and "?" in digits):
            raise ValueError("a pattern, not bytes: %r" % text)
        out += string.encode() if string is not None else bytes.fromhex(digits or "") + \
            bytes.fromhex(byte or "") * int(count or 0)
    return out


def pattern(text):
    """The regular expression of a pattern; None for silence."""
    if text.strip() == "silence":
        return None
    out = b""
    for string, count, byte, digits, star, _ in _tokens(text):
        if string is not None:
            out += re.escape(string.encode())
        elif count:
            out += re.escape(bytes.fromhex(byte) * int(count))
        elif star:
            out += b".*"
        for at in range(0, len(digits or ""), 2):
            pair = digits[at:at + 2]
            out += b"." if pair == "??" else re.escape(bytes.fromhex(pair))
    return re.compile(out, re.DOTALL)


class Case:
    """One bad input: steps are (datagram, [regular expressions, None for silence])."""

    def __init__(self, number, scope, name, line):
        self.row, self.scope, self.name, self.line = number, scope, name, line
        self.clause, self.steps, self.makes = "", [], []

    def __str__(self):
        return "line %d, row %d, %s (%s)" % (self.line, self.row, self.name, self.clause)

    @property
    def slug(self):
        return "row%02d_%s" % (self.row, re.sub(r"\W+", "_", self.name).strip("_"))


def bad_inputs():
    cases = []
    for number, line in vectors.lines(FILE):
        mark, _, rest = line.partition(" ")
        if mark == "row":
            words = rest.split(None, 2)
            cases.append(Case(int(words[0]), words[1], words[2], number))
        elif mark == "clause":
            cases[-1].clause = rest
        elif mark == ">":
            cases[-1].steps.append([octets(rest), None])
        elif mark == "<":
            cases[-1].steps[-1][1] = [pattern(each) for each in rest.split("|")]
        elif mark == "+":
            cases[-1].makes.append(rest.strip())
        else:
            raise ValueError("line %d: %s" % (number, line))
    for case in cases:
        if not (case.clause and case.steps and all(step[1] for step in case.steps)):
            raise ValueError("%s is not complete" % case)
        if case.scope not in ("machine", "value"):
            raise ValueError("%s: no scope %s" % (case, case.scope))
    if len({case.slug for case in cases}) != len(cases):
        raise ValueError("two cases have the same name")
    return cases
