"""A constraint and its message."""

import pytest

from penstock.types.v1 import types_pb2
from penstock_shared.constraint import Constraint, ConstraintKind, constraint_message, constraint_of

PAIRS = [
    (Constraint(ConstraintKind.JSON_SCHEMA, ("{}",)), types_pb2.Constraint(json_schema="{}")),
    (Constraint(ConstraintKind.REGEX, ("a+",)), types_pb2.Constraint(regex="a+")),
    (Constraint(ConstraintKind.GRAMMAR, ("start: x",)), types_pb2.Constraint(grammar="start: x")),
    (Constraint(ConstraintKind.CHOICE, ("yes", "no")), types_pb2.Constraint(choice={"options": ["yes", "no"]})),
    (Constraint(ConstraintKind.CHOICE, ()), types_pb2.Constraint(choice={})),
    (Constraint(ConstraintKind.REGEX, ("",)), types_pb2.Constraint(regex="")),
    (None, types_pb2.Constraint()),
]


@pytest.mark.parametrize(("constraint", "message"), PAIRS)
def test_constraint_and_message_say_the_same(constraint: Constraint | None, message: types_pb2.Constraint) -> None:
    """Gateway and worker read one contract; an empty text is a constraint, too, and a bad one."""
    assert constraint_of(message) == constraint
    if constraint is not None:
        assert constraint_message(constraint) == message


def test_every_kind_of_the_contract_is_known() -> None:
    """A new one must not be taken for none."""
    kinds = types_pb2.Constraint.DESCRIPTOR.oneofs_by_name["kind"].fields
    assert {field.name for field in kinds} == {kind.value for kind in ConstraintKind}


def test_size_counts_bytes() -> None:
    """Bounds are of bytes."""
    assert Constraint(ConstraintKind.CHOICE, ("é", "ab")).num_bytes == 4
