"""Constraints that are made to keep their compiler busy, or to end its process. All are within the gateway's size."""

import json
from typing import Any

from penstock_shared.constraint import Constraint, ConstraintKind


def schema(value: Any) -> Constraint:
    """A JSON schema."""
    return Constraint(ConstraintKind.JSON_SCHEMA, (json.dumps(value),))


def regex(text: str) -> Constraint:
    """A regular expression."""
    return Constraint(ConstraintKind.REGEX, (text,))


def grammar(*lines: str) -> Constraint:
    """A Lark grammar."""
    return Constraint(ConstraintKind.GRAMMAR, ("\n".join(lines),))


def _branches(depth: int) -> Any:
    below = _branches(depth - 1) if depth else {}
    kinds = ({"type": "object", "properties": {name: below}, "required": [name]} for name in "pq")
    return {"oneOf": list(kinds)}


def slow_grammar(num_rules: int) -> Constraint:
    """Begins harmlessly; its second mask is slow. Rules that begin and end with each other, and may all be empty."""
    rules = range(num_rules)
    return grammar(
        "start: /[0-9]/ all",
        "all: " + " | ".join(f"r{i}" for i in rules),
        *(f'r{i}: all "x" | "x" all | ""' for i in rules),
    )


# Each takes seconds to minutes, or ends the process, where nothing bounds it.
REFUSED = {
    "rules that all may be empty": grammar(
        "start: " + " | ".join(f"r{i}" for i in range(1500)), *(f'r{i}: "x" start | ""' for i in range(1500))
    ),
    "multiple of a large prime": schema({"type": "integer", "multipleOf": 1000003}),
    "terminals that double": grammar("start: R0", *(f"R{i}: R{i + 1} R{i + 1}" for i in range(30)), 'R30: "a"'),
    "a chain of rules": grammar("start: r0", *(f"r{i}: r{i + 1}" for i in range(40_000)), 'r40000: "a"'),
}
# Each is refused by one of llguidance's own bounds, or taken and bounded while it runs.
BOUNDED = {
    "references to itself": schema({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}] * 1000}}, "$ref": "#/$defs/a"}),
    "lists of itself": schema(
        {"$defs": {"a": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/a"}] * 1000}}}, "$ref": "#/$defs/a"}
    ),
    "branches": schema(_branches(8)),
    "products of branches": schema(
        {"allOf": [{"anyOf": [{"properties": {f"{i}{j}": {"const": j}}} for j in range(10)]} for i in range(8)]}
    ),
    "a large enum": schema({"enum": [f"value-{number * 7919}" for number in range(3000)]}),
    "many properties": schema({"type": "object", "properties": {f"p{i}": {"type": "integer"} for i in range(1500)}}),
    "a long list": schema({"type": "array", "minItems": 1_000_000_000}),
    "counted": regex("(a{1,1000}){1,1000}"),
    "counted four times": regex("(((a{1,9999}){1,9999}){1,9999}){1,9999}"),
    "exponential": regex("(.*a.{100}){3}"),
    "nested": regex("(" * 1000 + "a+" + ")+" * 1000),
    "letters of all scripts": regex(r"\w{500}\p{L}{500}"),
    "ambiguous": grammar("start: e", 'e: e e e | e e | "a" | "b" | ""'),
    "counted rules": grammar('start: ((("a"{1,100}){1,100}){1,100}){1,100}'),
    "intersections": grammar("start: A", "A: /(a|b)*a(a|b){40}/ & /(a|b)*b(a|b){41}/ & ~/.*abab.*/"),
    "slow behind its beginning": slow_grammar(390),
}
