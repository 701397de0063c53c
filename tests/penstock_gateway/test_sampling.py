"""What a request leaves open is filled in."""

from penstock_gateway.requests import SamplingRequest
from penstock_gateway.sampling import ResolvedSampling, resolve_sampling
from penstock_shared.directory import SamplingDefaults

DEFAULTS = SamplingDefaults(temperature=0.6, top_p=0.95, top_k=20, max_tokens=30)


def resolve(asked: SamplingRequest, *, tokens_left: int = 100, maximum: int = 50) -> ResolvedSampling:
    """With a seed that is drawn as 99."""
    return resolve_sampling(asked, DEFAULTS, tokens_left=tokens_left, max_output_tokens=maximum, draw_seed=lambda: 99)


def test_absent_fields_take_the_models_defaults() -> None:
    """Absent is not zero."""
    sampling = resolve(SamplingRequest())
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.seed, sampling.n) == (0.6, 0.95, 20, 99, 1)


def test_a_present_zero_is_kept() -> None:
    """Temperature 0 is greedy, top_k 0 is all, seed 0 is a seed."""
    sampling = resolve(SamplingRequest(temperature=0.0, top_k=0, seed=0))
    assert (sampling.temperature, sampling.top_k, sampling.seed) == (0.0, 0, 0)


def test_max_tokens_is_the_least_of_what_is_asked_left_and_allowed() -> None:
    """What the context does not leave cannot be generated."""
    assert resolve(SamplingRequest(max_tokens=10)).max_tokens == 10
    assert resolve(SamplingRequest(max_tokens=10), tokens_left=4).max_tokens == 4
    assert resolve(SamplingRequest()).max_tokens == 30
    assert resolve(SamplingRequest(max_tokens=80)).max_tokens == 50


def test_min_tokens_never_exceeds_max_tokens() -> None:
    """Else no sequence could ever end well."""
    assert resolve(SamplingRequest(min_tokens=9), tokens_left=4).min_tokens == 4
