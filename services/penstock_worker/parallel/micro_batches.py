"""Cuts a step into micro-batches, so that one stage computes while the next one does."""

from penstock_worker.engine.plan import Chunk, StepPlan

# Each micro-batch reads all weights again. From this many tokens on, products take longer than that.
_MIN_TOKENS = 64
# With m parts over s stages, (s - 1) / (m + s - 1) of the time is a bubble: more parts than this win little.
_MAX_PARTS_A_STAGE = 4


def micro_batches(plan: StepPlan, num_stages: int, *, min_tokens: int = _MIN_TOKENS) -> list[StepPlan]:
    """The plan in consecutive parts of about equally many tokens, which together compute what it says.

    Args:
        plan: of the step.
        num_stages: that it goes through.
        min_tokens: of a part, for more than one to be worth it.
    """
    num_tokens = sum(len(chunk.token_ids) for chunk in plan.chunks)
    num_parts = min(_MAX_PARTS_A_STAGE * num_stages, num_tokens // min_tokens)
    if num_stages == 1 or num_parts <= 1:
        return [plan]
    parts = _parts(plan.chunks, -(-num_tokens // num_parts))
    fresh = [plan.fresh_block_ids] + [[]] * (len(parts) - 1)
    return [StepPlan(chunks, ids) for chunks, ids in zip(parts, fresh, strict=True)]


def _parts(chunks: list[Chunk], max_tokens: int) -> list[list[Chunk]]:
    parts: list[list[Chunk]] = [[]]
    room = max_tokens
    for chunk in chunks:
        rest: Chunk | None = chunk
        while rest is not None:
            if not room:
                parts.append([])
                room = max_tokens
            head, rest = _cut(rest, room)
            parts[-1].append(head)
            room = max(0, room - len(head.token_ids))
    return parts


def _cut(chunk: Chunk, num_tokens: int) -> tuple[Chunk, Chunk | None]:
    """The first `num_tokens` of a chunk, and the rest; all of it where one part has to tell what is asked of it."""
    num_after = len(chunk.token_ids) - num_tokens
    if num_after < max(chunk.num_logits_rows, 1) or chunk.scoring is not None or chunk.pooling is not None:
        return chunk, None
    head = chunk._replace(token_ids=chunk.token_ids[:num_tokens], num_logits_rows=0)
    return head, chunk._replace(token_ids=chunk.token_ids[num_tokens:], start=chunk.start + num_tokens)
