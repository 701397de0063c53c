"""How a step is cut for a pipeline."""

from array import array
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock_worker.engine.plan import Chunk, StepPlan
from penstock_worker.engine.pooling import Pooling
from penstock_worker.engine.scoring import Scoring
from penstock_worker.parallel.micro_batches import micro_batches


def _chunk(key: int, num_tokens: int, *, start: int = 0, num_logits_rows: int = 1, **options: Any) -> Chunk:
    token_ids = array("q", range(start, start + num_tokens))
    return Chunk(key, token_ids, start, array("q", [key]), num_logits_rows, **options)


def _sizes(parts: list[StepPlan]) -> list[list[int]]:
    return [[len(chunk.token_ids) for chunk in part.chunks] for part in parts]


def test_one_stage_computes_a_step_at_once() -> None:
    """There is nothing to overlap, and each part reads all weights again."""
    plan = StepPlan([_chunk(1, 600)], [3])
    assert micro_batches(plan, 1) == [plan]


def test_a_few_tokens_stay_together() -> None:
    """A part of eight tokens takes as long as one of sixteen: weights are read for both."""
    plan = StepPlan([_chunk(key, 1) for key in range(16)], [])
    assert micro_batches(plan, 2) == [plan]


def test_a_long_prompt_is_cut_within() -> None:
    """A prompt alone fills a step; uncut, each stage would wait for all of the one below."""
    parts = micro_batches(StepPlan([_chunk(1, 256, start=64)], [7]), 2)
    assert _sizes(parts) == [[64], [64], [64], [64]]
    assert [part.chunks[0].start for part in parts] == [64, 128, 192, 256]
    assert [part.chunks[0].num_logits_rows for part in parts] == [0, 0, 0, 1]
    assert [part.fresh_block_ids for part in parts] == [[7], [], [], []]


@given(
    st.lists(
        st.tuples(
            st.integers(1, 300), st.integers(0, 4), st.sampled_from(["plain", "scored", "pooled"]), st.integers(0, 50)
        ),
        min_size=1,
        max_size=8,
    ),
    st.integers(1, 4),
)
def test_the_parts_together_are_the_plan(shapes: list[tuple[int, int, str, int]], num_stages: int) -> None:
    """Each token is computed once, in order, and each row of logits comes where the sampler expects it."""
    extra: dict[str, Any] = {
        "plain": {},
        "scored": {"scoring": Scoring(0, array("q", [1]), 0)},
        "pooled": {"pooling": Pooling.MEAN},
    }
    chunks = [
        _chunk(key, num_tokens, start=start, num_logits_rows=min(rows, num_tokens), **extra[kind])
        for key, (num_tokens, rows, kind, start) in enumerate(shapes)
    ]
    parts = micro_batches(StepPlan(chunks, [5]), num_stages)
    joined: dict[int, Chunk] = {}
    for part in parts:
        assert part.chunks
        for chunk in part.chunks:
            before = joined.get(chunk.key)
            assert before is None or (before.num_logits_rows, before.scoring, before.pooling) == (0, None, None)
            assert before is None or before.start + len(before.token_ids) == chunk.start
            joined[chunk.key] = (
                chunk
                if before is None
                else chunk._replace(start=before.start, token_ids=before.token_ids + chunk.token_ids)
            )
    assert list(joined.values()) == chunks
