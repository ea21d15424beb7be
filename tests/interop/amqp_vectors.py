"""Reads tests/vectors/amqp-bad-inputs.txt; its notation is described at its head."""

import re
import struct

import vectors

FILE = "amqp-bad-inputs.txt"
STATES = ("fresh", "sasl", "header", "open", "begun", "sender", "receiver")
ANSWERS = ("closed", "header", "outcome", "close", "end", "detach", "rejected", "accepted", "attach",
           "begin", "lives")
DESCRIBED = {
    "open": 0x10, "begin": 0x11, "attach": 0x12, "flow": 0x13, "transfer": 0x14, "disposition": 0x15,
    "detach": 0x16, "end": 0x17, "close": 0x18, "received": 0x23, "accepted": 0x24, "rejected": 0x25,
    "released": 0x26, "modified": 0x27, "source": 0x28, "target": 0x29, "coordinator": 0x30,
    "init": 0x41, "response": 0x43, "outcome": 0x44, "header": 0x70, "annotations": 0x72,
    "properties": 0x73, "application": 0x74, "data": 0x75, "sequence": 0x76, "value": 0x77,
    "footer": 0x78}
VALUES = {"null": 0x40, "true": 0x41, "false": 0x42}
PREFIX = {"": b"", "s": b"\xa1", "y": b"\xa3", "b": b"\xa0"}
TOKEN = re.compile(r'([syb]?)"([^"]*)"|=(\d+)|(\d+)\*\(|\[(s|\d+)(?![\w"])|([{<])(\d+)(?!\w)|([])}>])|'
                   r'((?:[0-9a-f]{2})+)(?![\w*])|([a-z]+)')


def octets(text):
    """The bytes of a line."""
    at, stack = 0, [("", None, bytearray())]
    text = text.strip()
    while at < len(text):
        if text[at] == " ":
            at += 1
            continue
        found = TOKEN.match(text, at)
        if not found:
            raise ValueError("no bytes at %r" % text[at:])
        at = found.end()
        prefix, string, number, times, channel, open_, count, closing, digits, word = found.groups()
        out = stack[-1][2]
        if string is not None:
            data = string.encode()
            out.extend(PREFIX[prefix] + (bytes((len(data),)) if prefix else b"") + data)
        elif number is not None:
            out.extend(b"\x70" + struct.pack(">I", int(number)))
        elif times is not None:
            stack.append((")", int(times), bytearray()))
        elif channel is not None:
            stack.append(("]", channel, bytearray()))
        elif open_ is not None:
            stack.append(("}" if open_ == "{" else ">", int(count), bytearray()))
        elif closing is not None:
            if len(stack) == 1 or stack[-1][0] != closing:
                raise ValueError("unpaired %s in %r" % (closing, text))
            _close(stack)
        elif digits is not None:
            out.extend(bytes.fromhex(digits))
        elif word in VALUES:
            out.append(VALUES[word])
        else:
            out.extend((0, 0x53, DESCRIBED[word]))
    if len(stack) != 1:
        raise ValueError("something is left open in %r" % text)
    return bytes(stack[0][2])


def _close(stack):
    sign, said, body = stack.pop()
    out = stack[-1][2]
    if sign == ")":
        out.extend(bytes(body) * said)
    elif sign == "]":
        kind, channel = (1, 0) if said == "s" else (0, int(said))
        out.extend(struct.pack(">IBBH", 8 + len(body), 2, kind, channel) + body)
    else:
        out.extend(struct.pack(">BII", 0xD0 if sign == "}" else 0xD1, 4 + len(body), said) + body)


class Case:
    """One bad input. answers: for each that must come, the alternatives as (kind, argument)."""

    def __init__(self, head, line):
        words = head.split(None, 3)
        self.row, self.state, self.name, self.line = int(words[1]), words[2], words[3], line
        self.clause, self.sent, self.answers = "", b"", []
        if self.state not in STATES:
            raise ValueError("line %d: no state %s" % (line, self.state))

    def __str__(self):
        return "line %d, row %d, %s" % (self.line, self.row, self.name)

    @property
    def slug(self):
        return "row%03d_%s_%s" % (self.row, self.state, re.sub(r"\W+", "_", self.name).strip("_"))


def bad_inputs():
    cases = []
    for number, line in vectors.lines(FILE):
        mark, rest = line.split(None, 1)
        if mark == "row":
            cases.append(Case(line, number))
        elif mark == "clause":
            cases[-1].clause = rest
        elif mark == ">":
            cases[-1].sent += octets(rest)
        elif mark == "<":
            answers = [tuple((answer.split() + [None])[:2]) for answer in rest.split("|")]
            if any(kind not in ANSWERS for kind, _ in answers):
                raise ValueError("line %d: %s" % (number, line))
            cases[-1].answers.append(answers)
        else:
            raise ValueError("line %d: %s" % (number, line))
    for case in cases:
        if not (case.clause and case.sent and case.answers):
            raise ValueError("%s is not complete" % case)
    if len({case.slug for case in cases}) != len(cases):
        raise ValueError("two cases have the same name")
    return cases
