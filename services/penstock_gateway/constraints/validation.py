"""What can be told of a constraint without compiling it: its size, and whether a schema is JSON of sane depth."""

import json
from typing import Any

from penstock_gateway.capabilities import Limits
from penstock_shared.constraint import Constraint, ConstraintKind
from penstock_shared.errors import InvalidArgumentError


def check_constraint(constraint: Constraint, limits: Limits, *, field: str) -> None:
    """Checks size and form. The number of options has been checked before (`message_counts.py`).

    Raises:
        InvalidArgumentError: names the field below `field`, the value and what is allowed.
    """
    path = f"{field}.{constraint.field}"
    if not constraint.texts:
        raise InvalidArgumentError(path, "0 entries", "at least 1 entry")
    for index, text in enumerate(constraint.texts):
        if not text:
            empty = f"{path}[{index}]" if constraint.kind is ConstraintKind.CHOICE else path
            raise InvalidArgumentError(empty, "", "at least 1 byte")
    num_bytes = constraint.num_bytes
    if num_bytes > limits.max_constraint_bytes:
        raise InvalidArgumentError(path, f"{num_bytes} bytes", f"at most {limits.max_constraint_bytes} bytes")
    if constraint.kind is ConstraintKind.JSON_SCHEMA:
        _check_schema(constraint.texts[0], limits.max_schema_depth, path)


def _check_schema(text: str, max_depth: int, path: str) -> None:
    try:
        schema = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise _too_deep(path, max_depth) from None
    except ValueError as error:
        raise InvalidArgumentError(path, text, f"a JSON schema as JSON text ({error})") from None
    if not isinstance(schema, (dict, bool)):
        raise InvalidArgumentError(path, text, "a JSON object, true or false")
    if _is_deeper_than(schema, max_depth):
        raise _too_deep(path, max_depth)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _is_deeper_than(value: Any, max_depth: int) -> bool:
    """Level by level: what is too deep for us must not overflow our own stack."""
    level = [value]
    for _ in range(max_depth + 1):
        level = [child for each in level for child in _children(each)]
        if not level:
            return False
    return True


def _children(value: Any) -> list[Any]:
    found = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [child for child in found if isinstance(child, (dict, list))]


def _too_deep(path: str, max_depth: int) -> InvalidArgumentError:
    return InvalidArgumentError(path, "a deeper schema", f"at most {max_depth} levels")
