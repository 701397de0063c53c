"""What an output must conform to, as a value that gateway and worker share."""

import enum
from dataclasses import dataclass

from penstock.types.v1 import types_pb2


class ConstraintKind(enum.StrEnum):
    """How a constraint is written; the names of the fields of `types.v1.Constraint`."""

    JSON_SCHEMA = "json_schema"
    REGEX = "regex"
    GRAMMAR = "grammar"
    CHOICE = "choice"


@dataclass(frozen=True, slots=True)
class Constraint:
    """One constraint.

    Attributes:
        kind: how it is written.
        texts: the one text; of a choice, its options.
    """

    kind: ConstraintKind
    texts: tuple[str, ...]

    @property
    def field(self) -> str:
        """Where its text stands in the message."""
        return "choice.options" if self.kind is ConstraintKind.CHOICE else self.kind.value

    @property
    def shown(self) -> str:
        """What it is, for an error."""
        return self.texts[0] if len(self.texts) == 1 else f"{len(self.texts)} options"

    @property
    def num_bytes(self) -> int:
        """Its size as UTF-8."""
        return sum(len(text.encode()) for text in self.texts)


def constraint_of(message: types_pb2.Constraint) -> Constraint | None:
    """The constraint of a message; None where it has none."""
    kind = message.WhichOneof("kind")
    if kind is None:
        return None
    if kind == "choice":
        return Constraint(ConstraintKind.CHOICE, tuple(message.choice.options))
    return Constraint(ConstraintKind(kind), (getattr(message, kind),))


def constraint_message(constraint: Constraint | None) -> types_pb2.Constraint | None:
    """The reverse of `constraint_of`."""
    if constraint is None:
        return None
    if constraint.kind is ConstraintKind.CHOICE:
        return types_pb2.Constraint(choice=types_pb2.ChoiceConstraint(options=constraint.texts))
    message = types_pb2.Constraint()
    setattr(message, constraint.kind.value, constraint.texts[0])
    return message
