"""Strangers' texts, made safe to look at: a terminal obeys control characters, and reordered text misleads a reader."""

import json


def printable(text: str) -> str:
    """The text on one line, with all that shows nothing by itself escaped as in JSON."""
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def json_line(value: object) -> str:
    """One line of JSON that holds the same value, readable in any script."""
    return printable(json.dumps(value, ensure_ascii=False))
