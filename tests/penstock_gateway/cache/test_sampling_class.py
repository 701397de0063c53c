"""How free a request leaves its answer."""

from typing import Any

import pytest
from fakes.gateway_deployment import SPEC

from penstock_gateway.cache.sampling_class import SamplingClass, sampling_class
from penstock_gateway.requests import GenerationRequest, SamplingRequest, TextInput


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ({}, SamplingClass.FREE),
        ({"temperature": 0.0}, SamplingClass.GREEDY),
        ({"temperature": 0.0, "seed": 3}, SamplingClass.GREEDY),
        ({"temperature": 0.5}, SamplingClass.FREE),
        ({"temperature": 0.5, "seed": 0}, SamplingClass.SEEDED),
        ({"seed": 0}, SamplingClass.SEEDED),
    ],
)
def test_the_class_is_that_of_the_values_in_force(sampling: dict[str, Any], expected: SamplingClass) -> None:
    """The model's own temperature counts where none was sent, and a seed decides nothing where nothing is drawn."""
    asked = GenerationRequest("", TextInput("Hi"), sampling=SamplingRequest(**sampling))
    assert sampling_class(asked, SPEC) is expected
