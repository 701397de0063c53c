"""The parity check itself: it forgives near-ties and nothing else."""

from collections.abc import Callable, Sequence

import pytest
import torch
from near_tie import ReferenceModel, assert_greedy_equal


class ScriptedReference(ReferenceModel):
    """A model that prefers token 3 and, by `gap` less, token 5; after a 5 it prefers token 1."""

    def __init__(self, gap: float) -> None:
        self._gap = gap

    def logits(self, token_ids: Sequence[int]) -> torch.Tensor:
        """Logits after each token: float32 [len(token_ids), 8]."""
        logits = torch.zeros(len(token_ids), 8)
        for row, token_id in zip(logits, token_ids, strict=True):
            row[3], row[5] = 2.0, 2.0 - self._gap
            if token_id == 5:
                row[1] = 9.0
        return logits


def test_near_tie_counts_as_equal_and_the_comparison_goes_on_with_it() -> None:
    """After the forgiven 5 the reference is asked about the continuation of 5, not of its own 3."""
    assert_greedy_equal(ScriptedReference(5e-5), [0], [3, 5, 1, 3])
    with pytest.raises(AssertionError, match="output token 2 is 3, transformers says 1"):
        assert_greedy_equal(ScriptedReference(5e-5), [0], [3, 5, 3])


def test_clear_mismatch_is_an_error() -> None:
    """The gap is above the bound: one of the two is wrong."""
    with pytest.raises(AssertionError, match="output token 1 is 5, transformers says 3"):
        assert_greedy_equal(ScriptedReference(1e-3), [0], [3, 5])
    with pytest.raises(AssertionError, match="nothing was generated"):
        assert_greedy_equal(ScriptedReference(1e-3), [0], [])


def test_stop_token_is_compared_too() -> None:
    """An output that ends early must end with what the reference says comes next."""
    assert_greedy_equal(ScriptedReference(1e-3), [0], [3], stop_token_id=3)
    with pytest.raises(AssertionError, match="output token 1 is 6"):
        assert_greedy_equal(ScriptedReference(1e-3), [0], [3], stop_token_id=6)


def test_wrong_token_of_a_real_model_is_noticed(reference: Callable[[str], ReferenceModel]) -> None:
    """The models of the parity tests have few near-ties: a token that is off by one is caught."""
    model, prompt = reference("llama"), [5, 6, 7]
    output: list[int] = []
    for _ in range(10):
        output.append(int(model.logits([*prompt, *output])[-1].argmax()))
    assert_greedy_equal(model, prompt, output)
    for position in range(10):
        changed = [*output[:position], output[position] + 1, *output[position + 1 :]]
        with pytest.raises(AssertionError):
            assert_greedy_equal(model, prompt, changed)
