"""The draw keeps exactly the tokens that top-k, top-p and min-p say, with the right probabilities."""

import math

import numpy as np
import pytest
import torch

from penstock_worker.engine.draw import DrawOptions, draw_filtered, draw_plain


def _options(
    uniform: list[float],
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
) -> DrawOptions:
    """The same options for each of the uniform numbers."""

    def column(value: float) -> torch.Tensor:
        return torch.full((len(uniform), 1), value, dtype=torch.float64)

    return DrawOptions(
        uniform=torch.tensor(uniform, dtype=torch.float64).unsqueeze(1),
        temperature=column(temperature),
        top_k=column(top_k).long(),
        top_p=column(top_p),
        min_p=column(min_p),
    )


def _reference(
    logits: list[float], *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0
) -> dict[int, float]:
    """Probability of each token that is left, by the definitions, in plain Python."""
    ranked = sorted(range(len(logits)), key=lambda token_id: (-logits[token_id], token_id))
    peak = max(logits)
    weight = {token_id: math.exp((logits[token_id] - peak) / temperature) for token_id in ranked}
    kept = ranked[:top_k] if top_k else ranked
    total, reached, nucleus = sum(weight[token_id] for token_id in kept), 0.0, []
    for token_id in kept:
        if reached < top_p * total:
            nucleus.append(token_id)
        reached += weight[token_id]
    kept = [token_id for token_id in nucleus if weight[token_id] >= min_p * weight[nucleus[0]]]
    total = sum(weight[token_id] for token_id in kept)
    return {token_id: weight[token_id] / total for token_id in kept}


def _shares(logits: list[float], **options: float) -> dict[int, float]:
    """Share of each token over an even grid of uniform numbers: the distribution that is drawn from, to 1 in 4000."""
    grid = [(index + 0.5) / 4000 for index in range(4000)]
    drawn = draw_filtered(torch.tensor(logits).expand(4000, -1).contiguous(), _options(grid, **options))  # type: ignore[arg-type]
    return {token_id: count / 4000 for token_id, count in enumerate(np.bincount(drawn.numpy())) if count}


LOGITS = [0.5, 3.0, -1.0, 2.0, 2.0, -4.0, 1.0]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 0.3},
        {"temperature": 5.0},
        {"top_k": 1},
        {"top_k": 3},
        {"top_k": 100},
        {"top_p": 0.01},
        {"top_p": 0.5},
        {"top_p": 0.75},
        {"top_p": 0.999},
        {"min_p": 0.1},
        {"min_p": 0.3679},
        {"min_p": 1.0},
        {"top_k": 3, "top_p": 0.7},
        {"top_k": 5, "top_p": 0.9, "min_p": 0.2, "temperature": 1.7},
    ],
)
def test_distribution_is_that_of_the_definitions(options: dict[str, float]) -> None:
    """Each filter and their order agree with a reference that follows the definitions token by token."""
    expected = _reference(LOGITS, **options)  # type: ignore[arg-type]
    shares = _shares(LOGITS, **options)
    assert shares.keys() <= expected.keys()
    assert {token_id: shares.get(token_id, 0.0) for token_id in expected} == pytest.approx(expected, abs=1 / 2000)


def test_ties_at_the_cut_go_to_the_smaller_id() -> None:
    """Top-k of equal logits keeps k tokens, always the same ones."""
    assert _shares([1.0, 2.0, 2.0, 2.0], top_k=2) == {1: 0.5, 2: 0.5}


def test_nucleus_ends_with_the_token_that_reaches_it() -> None:
    """Probabilities 1/2, 1/4, 1/4: exactly half is reached by the first alone, a little more takes the second."""
    logits = [math.log(0.25), math.log(0.5), math.log(0.25)]
    assert _shares(logits, top_p=0.5).keys() == {1}
    assert _shares(logits, top_p=0.51).keys() == {0, 1}


def test_masked_tokens_are_never_drawn() -> None:
    """A token of probability 0 must not come out at either end of the random numbers."""
    logits = torch.tensor([[-math.inf, 1.0, -math.inf, 1.0, -math.inf]]).expand(3, -1).contiguous()
    options = _options([0.0, 0.5, 1.0 - 2.0**-52])
    assert draw_plain(logits, options).tolist() == [1, 3, 3]
    assert draw_filtered(logits, options).tolist() == [1, 3, 3]


@pytest.mark.parametrize(
    "options", [{"top_k": 7}, {"top_k": 300}, {"top_p": 0.6}, {"top_p": 0.999}, {"min_p": 0.05}, {"min_p": 1e-6}]
)
def test_large_vocabulary_gives_what_a_full_ranking_gives(options: dict[str, float]) -> None:
    """Looking at the best candidates only is a shortcut; also with many equal logits it changes nothing."""
    generator = torch.Generator().manual_seed(1)
    logits = (torch.randn(20, 5000, generator=generator) * 2).mul(4).round().div(4)
    uniform = torch.rand(20, generator=generator, dtype=torch.float64).tolist()
    drawn = draw_filtered(logits, _options(uniform, **options)).tolist()  # type: ignore[arg-type]
    for row, number, token_id in zip(logits.tolist(), uniform, drawn, strict=True):
        assert token_id == _inverse(_reference(row, **options), number)  # type: ignore[arg-type]


def _inverse(distribution: dict[int, float], number: float) -> int:
    reached = 0.0
    for token_id, share in distribution.items():
        reached += share
        if reached > number:
            return token_id
    raise AssertionError("the probabilities add up to less than the number")


def test_tiny_temperature_is_greedy() -> None:
    """Dividing by it must not overflow."""
    assert draw_plain(torch.tensor([[1.0, 80.0, 79.99]]), _options([0.999], temperature=1e-30)).tolist() == [1]
