"""The list of exceptions: read, applied, and kept from outliving its reasons."""

from source import Finding

EXCEPTIONS = "script/check.exceptions"


def read(tree):
    """{(rule, path): line}; each line is: rule, path, reason."""
    lines, faults = {}, []
    if EXCEPTIONS in tree.paths:
        for number, line in enumerate(tree.source(EXCEPTIONS).lines, 1):
            if line.strip() and not line.startswith("#"):
                parts = line.split(None, 2)
                if len(parts) < 3:
                    faults.append(
                        Finding("exception", EXCEPTIONS, number, "has no reason", "write: rule path reason")
                    )
                else:
                    lines[parts[0], parts[1]] = number
    return lines, faults


def apply(tree, findings):
    """The findings that no exception covers, and those exceptions that cover nothing."""
    lines, left = read(tree)
    used = set()
    for finding in findings:
        key = (finding.rule, finding.path)
        if key in lines:
            used.add(key)
        else:
            left.append(finding)
    for key in sorted(lines.keys() - used):
        left.append(
            Finding("exception", EXCEPTIONS, lines[key], f"{' '.join(key)} is not needed any more", "take the line out")
        )
    return left
