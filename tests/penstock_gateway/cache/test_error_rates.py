"""Who says how often the cache may be wrong."""

import pytest

from penstock_gateway.cache.error_rates import ErrorRates
from penstock_gateway.requests import CachePolicy

RATES = ErrorRates({"acme": 0.02, "strict": 0.0}.get, {"small": 0.03}, 0.01)


@pytest.mark.parametrize(
    ("asked", "tenant", "model", "expected"),
    [
        (0.05, "acme", "small", 0.05),
        (0.0, "acme", "small", 0.0),
        (None, "acme", "small", 0.02),
        (None, "strict", "small", 0.0),
        (None, "other", "small", 0.03),
        (None, "other", "large", 0.01),
    ],
)
def test_the_most_particular_word_counts(asked: float | None, tenant: str, model: str, expected: float) -> None:
    """A zero is a word, too: it turns the layer off, and no more general one turns it on again."""
    assert RATES.in_force(CachePolicy(max_error_rate=asked), tenant=tenant, model=model) == expected
