"""The order of prompts."""

from collections import Counter

import pytest

from penstock.bench.cache.paraphrases import Paraphrase
from penstock.bench.cache.traffic import Traffic, make_traffic

PROMPTS = [Paraphrase(f"{name}{number}", name, "f", "d") for name in "abcd" for number in range(3)]


def test_uniform_traffic_asks_every_prompt_once() -> None:
    """In an order that the seed decides; the lines of a file lie class by class."""
    asked = make_traffic(PROMPTS, Traffic.UNIFORM, num_requests=None, seed=1)
    assert sorted(asked, key=PROMPTS.index) == PROMPTS
    assert asked != PROMPTS
    assert asked == make_traffic(PROMPTS, Traffic.UNIFORM, num_requests=None, seed=1)
    assert asked != make_traffic(PROMPTS, Traffic.UNIFORM, num_requests=None, seed=2)
    assert asked[:5] == make_traffic(PROMPTS, Traffic.UNIFORM, num_requests=5, seed=1)


def test_more_uniform_requests_than_prompts_are_refused() -> None:
    """They would be exact repeats, which are no matter of meaning."""
    with pytest.raises(ValueError, match="got 13; allowed: at most 12"):
        make_traffic(PROMPTS, Traffic.UNIFORM, num_requests=13, seed=1)


def test_zipf_traffic_asks_the_class_of_rank_k_one_kth_as_often() -> None:
    """Which class has which rank is drawn; its prompts are asked all alike."""
    asked = make_traffic(PROMPTS, Traffic.ZIPF, num_requests=25_000, seed=1)
    counts = [count for _, count in Counter(prompt.class_name for prompt in asked).most_common()]
    assert counts == pytest.approx([12_000, 6_000, 4_000, 3_000], rel=0.05)
    assert min(Counter(asked).values()) == pytest.approx(1_000, rel=0.1)
    assert len(make_traffic(PROMPTS, Traffic.ZIPF, num_requests=None, seed=1)) == 20_000
