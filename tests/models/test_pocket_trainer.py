"""The training loop of the pocket model: a schedule that ends in time, and runs that can be taken up again."""

from pathlib import Path

import pytest
import snapshot
import torch
from packing import Batch, Example, collate
from trainer import History, Recipe, Run, train
from transformers import LlamaConfig, LlamaForCausalLM

ROWS = [[[Example([1, 2, 3 + step, 4], [False, False, True, True])]] for step in range(4)]
RECIPE = Recipe(warmup_steps=2)


def new_run(seed: int = 1) -> Run:
    """A run at its start, of a Llama that is small enough for a test."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=16,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    return Run(LlamaForCausalLM(config), RECIPE)


def batch(step: int) -> Batch:
    """The batch of a step."""
    return collate(ROWS[step], pad_id=0)


@pytest.mark.parametrize(
    ("step", "elapsed_s", "fraction"),
    [
        (0, 0.0, 0.02),
        (49, 0.0, 1.0),
        (200, 0.0, 1.0),
        (600, 0.0, 0.5),
        (600, 570.0, 0.0625),
        (600, 600.0, 0.0),
        (1000, 0.0, 0.0),
    ],
)
def test_rates_fall_to_zero_by_steps_or_by_time(step: int, elapsed_s: float, fraction: float) -> None:
    """A run that its machine slows down must still end with small steps: cut at full rates it is worth little."""
    recipe = Recipe(warmup_steps=50, fall_share=0.8, minutes=10)
    assert recipe.fraction(step, recipe.progress(step, 1000, elapsed_s)) == pytest.approx(fraction)


def test_a_cycle_rises_to_its_peak_only() -> None:
    """The second cycle starts from good weights, which full rates would undo."""
    recipe = Recipe(warmup_steps=10, peak=0.5)
    assert [recipe.fraction(step, step / 1000) for step in (0, 9, 20)] == [0.05, 0.5, 0.5]


def test_time_plays_no_part_without_a_limit() -> None:
    """The documented command gives the same run on a slow machine, only later."""
    assert Recipe().progress(step=500, num_steps=1000, elapsed_s=1e6) == 0.5


def test_training_ends_with_its_steps_and_validates_first_and_last() -> None:
    """The card reports the last held-out loss, so it must be that of the finished weights."""
    run = new_run()
    saved_at: list[int] = []
    train(run, ROWS, batch(0), RECIPE, save=lambda run: saved_at.append(run.history.num_steps))
    assert (run.history.num_steps, saved_at) == (4, [0, 4])
    assert [step for step, _ in run.history.held_out] == [0, 4]
    assert run.history.held_out[-1][1] < run.history.held_out[0][1]


def test_a_run_taken_up_from_its_snapshot_goes_on_as_if_never_cut(tmp_path: Path) -> None:
    """Weights alone would lose the optimiser's momentum and the place in the corpus and in the schedule."""
    whole = new_run()
    for step in range(2):
        whole.step(batch(step), fraction=1.0)
    snapshot.save(whole, tmp_path / "state.safetensors")
    resumed = new_run(seed=2)
    snapshot.load(resumed, tmp_path / "state.safetensors")
    assert (resumed.history.num_steps, resumed.history.num_tokens) == (2, whole.history.num_tokens)
    for run in (whole, resumed):
        for step in range(2, 4):
            run.step(batch(step), fraction=1.0)
    assert [loss for _, loss in resumed.history.train] == [loss for _, loss in whole.history.train]
    pairs = zip(whole.model.parameters(), resumed.model.parameters(), strict=True)
    assert all(torch.equal(first, second) for first, second in pairs)


def test_the_history_of_two_cycles_counts_on() -> None:
    """The card's curve and its totals speak of the whole way to the weights."""
    first = History([(0, 3.0), (1, 2.0)], [(0, 3.5), (2, 2.5)], num_steps=2, num_tokens=20, duration_s=4.0)
    second = History([(0, 1.0)], [(0, 2.4), (1, 1.5)], num_steps=1, num_tokens=10, duration_s=2.0)
    assert first.then(second) == History(
        [(0, 3.0), (1, 2.0), (2, 1.0)], [(0, 3.5), (2, 2.5), (2, 2.4), (3, 1.5)], 3, 30, 6.0
    )
