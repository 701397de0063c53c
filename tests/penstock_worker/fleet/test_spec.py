"""What is wanted is checked as a whole before anything is done, and an error says what to mend."""

from pathlib import Path
from typing import Any

import pytest

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.fleet.spec import ReplicaShape, changed_model, parse_spec

MODEL = {"name": "tiny", "model_dir": Path("/models/tiny")}


def parsed(**fields: Any) -> Any:
    """The one model with these fields."""
    return parse_spec({"models": [MODEL | fields]}).models[0]


def counts(**fields: Any) -> tuple[int, int, int]:
    """Replicas, least and most."""
    model = parsed(**fields)
    return model.replicas, model.min_replicas, model.max_replicas


def test_counts_that_are_not_given_follow_from_the_others() -> None:
    """Operators may choose any number; what the load chooses is bounded."""
    assert counts() == (1, 0, 1024)
    assert counts(replicas=3) == (3, 0, 1024)
    assert counts(autoscale={}) == (1, 1, 4)
    assert counts(autoscale={}, replicas=6) == (6, 1, 6)
    assert counts(autoscale={}, min_replicas=0, max_replicas=2) == (0, 0, 2)


def test_shape_is_what_replicas_are_alike_in() -> None:
    """Another number of them needs no other replicas, another precision does."""
    shape = ReplicaShape(model_dir=Path("/models/tiny"), quantize="int8")
    assert parsed(quantize="int8", replicas=2).shape == shape
    assert parsed(quantize="int8", replicas=9, min_replicas=1).shape == shape
    assert parsed(quantize="none").shape != shape


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"replicas": -1}, r"models\[0\]\.replicas: got -1; allowed: greater than or equal to 0"),
        ({"quantize": "int3"}, r"models\[0\]\.quantize: got 'int3'; allowed: 'none', 'int8' or 'int4'"),
        ({"model_dir": Path("tiny")}, r"models\[0\]\.model_dir: got .*tiny.*; allowed: an absolute path"),
        ({"min_replicas": 3, "max_replicas": 2}, "min_replicas 3 is above max_replicas 2"),
        ({"replicas": 5, "max_replicas": 4}, "replicas 5 is not within min_replicas 0 and max_replicas 4"),
        ({"colour": "red"}, r"models\[0\]\.colour: got 'red'; allowed: no such field"),
        ({"autoscale": {"down_window_s": 0}}, r"models\[0\]\.autoscale\.down_window_s: got 0"),
        ({"name": "a b"}, r"models\[0\]\.name: got 'a b'"),
    ],
)
def test_bad_field_is_named_with_its_value_and_what_is_allowed(fields: dict[str, Any], message: str) -> None:
    """A file of forty lines has one typing error."""
    with pytest.raises(InvalidArgumentError, match=message):
        parsed(**fields)


def test_two_models_of_one_name_are_refused() -> None:
    """Requests could mean either."""
    with pytest.raises(InvalidArgumentError, match="two models are called tiny"):
        parse_spec({"models": [MODEL, MODEL]})


def test_changed_field_is_checked_too() -> None:
    """`penstock fleet scale` is one of those."""
    assert changed_model(parsed(), replicas=2).replicas == 2
    with pytest.raises(InvalidArgumentError, match="replicas 9 is not within"):
        changed_model(parsed(max_replicas=4), replicas=9)
