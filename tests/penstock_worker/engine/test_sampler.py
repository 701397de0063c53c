"""What is drawn depends on the sequence alone: not on its batch, nor on a resume."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import pytest
import torch

from penstock_shared.errors import InternalError
from penstock_worker.engine.sampler import SampledToken, Sampler
from penstock_worker.engine.sequence import SamplingOptions, Sequence, SequenceRequest, TokenLogprobs, TopLogprob

VOCAB_SIZE = 50


def _sequence(*, num_output: int = 0, choice_index: int = 0, sampling: SamplingOptions) -> Sequence:
    request = SequenceRequest(
        key=0,
        prompt_token_ids=[1, 2],
        output_token_ids=[5] * num_output,
        choice_index=choice_index,
        sampling=sampling,
    )
    return Sequence(request=request, arrival=0, ending_token_ids=frozenset(), max_total_tokens=99, queued_ns=0)


def _sampled(logits: torch.Tensor, sequences: list[Sequence]) -> list[SampledToken]:
    found = Sampler().sample(logits, sequences)
    assert all(isinstance(item, SampledToken) for item in found)
    return [item for item in found if isinstance(item, SampledToken)]


def _token_ids(logits: torch.Tensor, sequences: list[Sequence]) -> list[int]:
    return [item.token_id for item in _sampled(logits, sequences)]


OPTIONS = [
    SamplingOptions(max_tokens=9, temperature=0.0),
    SamplingOptions(max_tokens=9, temperature=1.0, seed=1),
    SamplingOptions(max_tokens=9, temperature=0.7, top_k=10, seed=2),
    SamplingOptions(max_tokens=9, temperature=1.3, top_p=0.8, seed=3, repetition_penalty=1.2),
    SamplingOptions(max_tokens=9, temperature=2.0, min_p=0.05, seed=2**64 - 1, frequency_penalty=0.4),
    SamplingOptions(max_tokens=9, temperature=1.0, seed=4, logit_bias={3: 2.0}, logprobs=2),
]


def test_batch_does_not_matter() -> None:
    """A sequence gets the same token and log probabilities alone, in a batch, and in another place of the batch."""
    logits = torch.randn(len(OPTIONS), VOCAB_SIZE, generator=torch.Generator().manual_seed(2)) * 2
    sequences = [_sequence(num_output=index, sampling=sampling) for index, sampling in enumerate(OPTIONS)]
    together = _sampled(logits, sequences)
    alone = [_sampled(logits[row : row + 1], [sequence])[0] for row, sequence in enumerate(sequences)]
    assert together == alone
    assert _sampled(logits.flip(0), sequences[::-1]) == together[::-1]


def test_resumed_sequence_draws_what_it_would_have_drawn() -> None:
    """The random number belongs to the output position, whether the output came from here or with the request."""
    sampling = SamplingOptions(max_tokens=9, temperature=1.0, seed=11)
    logits = torch.zeros(1, VOCAB_SIZE)
    grown = _sequence(sampling=sampling)
    uninterrupted = []
    for _ in range(8):
        uninterrupted += _token_ids(logits, [grown])
        grown.token_ids.append(5)
    resumed = [_token_ids(logits, [_sequence(num_output=count, sampling=sampling)])[0] for count in range(8)]
    assert resumed == uninterrupted
    assert len(set(resumed)) > 4


def test_seed_and_choice_change_the_draw() -> None:
    """Choices of one request, and requests of different seeds, must differ."""
    draws = {
        (seed, choice): tuple(
            _token_ids(
                torch.zeros(1, VOCAB_SIZE),
                [
                    _sequence(
                        num_output=position,
                        choice_index=choice,
                        sampling=SamplingOptions(max_tokens=9, temperature=1.0, seed=seed),
                    )
                ],
            )[0]
            for position in range(6)
        )
        for seed in range(4)
        for choice in range(4)
    }
    assert len(set(draws.values())) == 16


@pytest.mark.parametrize("options", [{"temperature": 1.0}, {"temperature": 0.8, "top_k": 6}])
def test_frequencies_follow_the_distribution(options: dict[str, float]) -> None:
    """Over many positions of one output, tokens come out as often as their probabilities say (chi-square, 99.9 %)."""
    logits = torch.tensor([2.0, 1.0, 0.5, 0.0, -0.5, -1.0, -1.5, -2.0])
    sampling = SamplingOptions(max_tokens=10**6, seed=7, **options)  # type: ignore[arg-type]
    sequence = _sequence(sampling=sampling)
    num_draws, drawn = 4000, []
    for _ in range(num_draws // 200):
        batch = [_sequence(num_output=len(drawn) + index, sampling=sampling) for index in range(200)]
        drawn += _token_ids(logits.expand(200, -1).contiguous(), batch)
    kept = logits[: sequence.request.sampling.top_k or None] / sampling.temperature
    expected = kept.softmax(dim=-1).numpy() * num_draws
    counts = np.bincount(drawn, minlength=8)
    assert counts[len(expected) :].sum() == 0
    assert ((counts[: len(expected)] - expected) ** 2 / expected).sum() < {8: 24.3, 6: 20.5}[len(expected)]


def test_logprobs_are_those_before_temperature() -> None:
    """The chosen token's and the alternatives' log probabilities, after penalties and bias."""
    logits = torch.tensor([[1.0, 2.0, 3.0, 0.0]])
    sampling = SamplingOptions(max_tokens=9, temperature=0.0, logprobs=2, logit_bias={3: 4.0})
    normalizer = math.log(sum(math.exp(value) for value in (1.0, 2.0, 3.0, 4.0)))
    [sampled] = _sampled(logits, [_sequence(sampling=sampling)])
    assert sampled.token_id == 3
    assert sampled.logprobs is not None
    assert sampled.logprobs.logprob == pytest.approx(4.0 - normalizer)
    assert [top.token_id for top in sampled.logprobs.top] == [3, 2]
    assert sampled.logprobs.top[1].logprob == pytest.approx(3.0 - normalizer)


def test_logprobs_zero_reports_the_chosen_token_only() -> None:
    """0 alternatives differs from no log probabilities at all."""
    logits = torch.tensor([[0.0, 0.0], [0.0, 0.0], [9.0, 0.0]])
    sequences = [_sequence(sampling=SamplingOptions(max_tokens=9, logprobs=wanted)) for wanted in (0, None, 1)]
    first, second, third = _sampled(logits, sequences)
    assert first.logprobs == TokenLogprobs(0, pytest.approx(math.log(0.5)), ())
    assert second.logprobs is None
    assert third.logprobs is not None
    assert third.logprobs.top == (TopLogprob(0, third.logprobs.logprob),)


@pytest.mark.parametrize("fault", [math.nan, math.inf])
@pytest.mark.parametrize("sampling", OPTIONS)
def test_logits_that_are_no_numbers_fail_their_sequence_only(fault: float, sampling: SamplingOptions) -> None:
    """A model that overflows on one sequence must not end the others."""
    logits = torch.zeros(3, VOCAB_SIZE)
    logits[:, 7] = 50.0
    logits[1, 4] = fault
    first, second, third = Sampler().sample(logits, [_sequence(sampling=sampling) for _ in range(3)])
    assert isinstance(second, InternalError)
    assert [item.token_id for item in (first, third) if isinstance(item, SampledToken)] == [7, 7]


class ExplodingBias(Mapping[int, float]):
    """A bias that cannot be read: stands for any defect in one sequence's options."""

    def __getitem__(self, token_id: int) -> float:
        raise RuntimeError("no")

    def __iter__(self) -> Iterator[int]:
        raise RuntimeError("no")

    def __len__(self) -> int:
        return 1


def test_exception_in_one_sequence_fails_that_one_only() -> None:
    """The boundary lies between sequences: the others of the step get their tokens."""
    logits = torch.zeros(3, VOCAB_SIZE)
    logits[:, 7] = 1.0
    samplings = [SamplingOptions(max_tokens=9), SamplingOptions(max_tokens=9, logit_bias=ExplodingBias())]
    first, second = Sampler().sample(logits[:2], [_sequence(sampling=sampling) for sampling in samplings])
    assert first == SampledToken(7, None)
    assert isinstance(second, InternalError)
