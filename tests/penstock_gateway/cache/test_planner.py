"""What the cache may do for a request."""

from typing import Any

import pytest
from fakes.gateway_deployment import SPEC

from penstock_gateway.cache.error_rates import ErrorRates
from penstock_gateway.cache.planner import CachePlanner, CacheUse
from penstock_gateway.events import CacheOutcome
from penstock_gateway.requests import CacheMode, CachePolicy, GenerationRequest, SamplingRequest, TextInput

GREEDY = SamplingRequest(temperature=0.0)
FREE, SEEDED = SamplingRequest(), SamplingRequest(seed=1)


def plan(
    sampling: SamplingRequest = GREEDY,
    *,
    has_service: bool = True,
    rate: float = 0.01,
    ids: bool = False,
    **policy: Any,
) -> CacheUse:
    """What is planned for a text of that sampling and policy."""
    planner = CachePlanner(ErrorRates(lambda _: None, {}, rate), has_service=has_service, max_output_tokens=100)
    asked = GenerationRequest(
        "", TextInput("Hi"), sampling=sampling, cache=CachePolicy(**policy), is_returning_token_ids=ids
    )
    return planner.plan(asked, SPEC, "acme")


def finds_by_meaning(use: CacheUse) -> bool:
    """Whether the answer to another wording may be told."""
    return use.lookup_key is not None and use.lookup_key.semantic is not None


def keeps_for_meaning(use: CacheUse) -> bool:
    """Whether the answer may be told to another wording."""
    return use.key is not None and use.key.semantic is not None


def test_a_greedy_request_takes_and_gives_another_wordings_answer() -> None:
    """The everyday case, at the service's error rate."""
    use = plan()
    assert (finds_by_meaning(use), keeps_for_meaning(use), use.max_error_rate) == (True, True, 0.01)
    assert use.key is not None
    assert (use.key.tenant, use.key.model, use.key.exact_digest) == ("acme", SPEC.name, use.flight_key)
    assert (use.restriction, use.report) == ("", None)


@pytest.mark.parametrize("turn_off", [{"rate": 0.0}, {"max_error_rate": 0.0}])
def test_an_error_rate_of_0_leaves_the_very_same_request(turn_off: dict[str, float]) -> None:
    """Nothing of its text goes to the cache, either."""
    use = plan(**turn_off)
    assert use.lookup_key == use.key
    assert (keeps_for_meaning(use), use.restriction) == (False, "the accepted error rate is 0")
    assert use.flight_key is not None


def test_a_seeded_request_has_an_answer_of_its_own() -> None:
    """The seed asks for one sample, whatever rate is accepted."""
    use = plan(SEEDED, max_error_rate=0.5)
    assert use.lookup_key == use.key is not None
    assert (keeps_for_meaning(use), use.restriction) == (False, "a seed asks for its own sample")


def test_a_request_without_a_seed_shares_nothing_unless_it_names_an_error_rate() -> None:
    """By default each gets a sample of its own; one that says so takes an earlier one, but still joins nobody."""
    own = plan(FREE)
    assert (own.key, own.flight_key) == (None, None)
    assert own.report is not None
    assert (own.report.outcome, own.report.reason) == (
        CacheOutcome.SKIPPED,
        "sampled without a seed: every answer is another",
    )
    assert plan(FREE, max_error_rate=0.0).key is None
    use = plan(FREE, max_error_rate=0.02)
    assert (finds_by_meaning(use), keeps_for_meaning(use), use.flight_key) == (True, True, None)


def test_who_asks_for_token_ids_is_told_only_the_very_same_requests_answer() -> None:
    """Those of another prompt are none of its own; its own answer serves others all the same."""
    use = plan(ids=True)
    assert (finds_by_meaning(use), keeps_for_meaning(use)) == (False, True)
    assert use.restriction == "the request asks for token ids"
    assert use.key is not None
    assert use.lookup_key == use.key.exact_only()


def test_a_refresh_looks_for_nothing_and_keeps_as_ever() -> None:
    """The stored answer is stale; the new one may serve other wordings."""
    use = plan(mode=CacheMode.REFRESH)
    assert (use.lookup_key, keeps_for_meaning(use), use.flight_key) == (None, True, None)
    assert use.report is not None
    assert use.report.outcome is CacheOutcome.BYPASSED


@pytest.mark.parametrize("mode", CacheMode)
def test_without_a_service_equal_requests_still_share_a_generation(mode: CacheMode) -> None:
    """Single flight is the gateway's own."""
    use = plan(has_service=False, mode=mode)
    assert (use.key, use.flight_key is not None) == (None, mode is CacheMode.USE)


def test_a_bypass_neither_looks_nor_keeps_nor_joins() -> None:
    """It wants an answer of its own."""
    use = plan(mode=CacheMode.BYPASS)
    assert (use.key, use.flight_key) == (None, None)


def test_log_probabilities_are_not_kept() -> None:
    """So there is nothing to find; those of the output can be shared while they come, those of the prompt not."""
    for wanted, is_shared in (({"logprobs": 0}, True), ({"prompt_logprobs": 0}, False)):
        use = plan(SamplingRequest(temperature=0.0, **wanted))
        assert (use.key, use.flight_key is not None) == (None, is_shared)


def test_a_scope_is_told() -> None:
    """Prompts about persons are shared in such a one only."""
    scoped, plain = plan(scope="team").key, plan().key
    assert scoped is not None
    assert plain is not None
    assert (scoped.is_scoped, plain.is_scoped) == (True, False)
