"""What can be told of a constraint without compiling it."""

import json

import pytest

from penstock_gateway.capabilities import Limits
from penstock_gateway.constraints.validation import check_constraint
from penstock_shared.constraint import Constraint, ConstraintKind
from penstock_shared.errors import InvalidArgumentError

LIMITS = Limits(max_input_bytes=5000, max_output_tokens=50, max_constraint_bytes=600, max_schema_depth=3)


def schema(text: str) -> Constraint:
    """A schema as JSON text."""
    return Constraint(ConstraintKind.JSON_SCHEMA, (text,))


@pytest.mark.parametrize("text", ['{"a": {"b": {}}}', '{"a": [{}]}', "true", "false", " {} "])
def test_schema_of_sane_depth_is_allowed(text: str) -> None:
    """Some levels are allowed here; a schema may also be `true` or `false`."""
    check_constraint(schema(text), LIMITS, field="request.constraint")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "got ''; allowed: at least 1 byte"),
        ("{'a': 1}", "allowed: a JSON schema as JSON text (Expecting property name"),
        ("[1]", "got '[1]'; allowed: a JSON object, true or false"),
        ("1", "got '1'; allowed: a JSON object, true or false"),
        ('{"minimum": NaN}', "allowed: a JSON schema as JSON text (NaN is no JSON)"),
        ('{"a": {"b": {"c": {"d": {}}}}}', "got 'a deeper schema'; allowed: at most 3 levels"),
        ("[" * 300 + "]" * 300, "a JSON object"),
        ('{"a":' * 100 + "[" * 50, "allowed: a JSON schema as JSON text"),
        (json.dumps({"a": "x" * 600}), "got '609 bytes'; allowed: at most 600 bytes"),
    ],
)
def test_schema_that_is_none_is_refused_by_field_value_and_bound(text: str, words: str) -> None:
    """The caller can mend it."""
    with pytest.raises(InvalidArgumentError) as caught:
        check_constraint(schema(text), LIMITS, field="request.constraint")
    assert caught.value.field == "request.constraint.json_schema"
    assert words in caught.value.message


def test_schema_deeper_than_the_interpreters_stack_is_refused() -> None:
    """Depth is told without walking down: 100,000 levels must not end the gateway."""
    limits = Limits(max_input_bytes=1, max_output_tokens=1, max_constraint_bytes=1 << 20, max_schema_depth=64)
    with pytest.raises(InvalidArgumentError, match="a deeper schema"):
        check_constraint(schema('{"a":' * 100_000 + "{}" + "}" * 100_000), limits, field="c")


def test_choices_are_counted_and_none_is_empty() -> None:
    """An empty choice could not be told from an output that has not begun."""
    check_constraint(Constraint(ConstraintKind.CHOICE, ("yes", "no")), LIMITS, field="c")
    with pytest.raises(InvalidArgumentError, match=r"^c\.choice\.options: got '0 entries'; allowed: at least 1 entry"):
        check_constraint(Constraint(ConstraintKind.CHOICE, ()), LIMITS, field="c")
    with pytest.raises(InvalidArgumentError, match=r"^c\.choice\.options\[1\]: got ''; allowed: at least 1 byte"):
        check_constraint(Constraint(ConstraintKind.CHOICE, ("yes", "")), LIMITS, field="c")
    with pytest.raises(InvalidArgumentError, match=r"got '601 bytes'; allowed: at most 600 bytes"):
        check_constraint(Constraint(ConstraintKind.CHOICE, ("x" * 300, "y" * 301)), LIMITS, field="c")
