"""A step's plan as bytes: int64 numbers, one after the other. Nothing in them can name code."""

from array import array
from collections.abc import Sequence

from penstock_worker.engine.plan import Chunk, StepPlan
from penstock_worker.engine.pooling import Pooling
from penstock_worker.engine.scoring import Scoring

_POOLINGS = (None, *Pooling)


def encode_plans(plans: Sequence[StepPlan]) -> bytes:
    """The plans of one step: its micro-batches."""
    numbers = array("q", [len(plans)])
    for plan in plans:
        _put_list(numbers, plan.fresh_block_ids)
        numbers.append(len(plan.chunks))
        for chunk in plan.chunks:
            _put_chunk(numbers, chunk)
    return numbers.tobytes()


def decode_plans(data: bytes | memoryview) -> list[StepPlan]:
    """What `encode_plans` was given."""
    reader = _Reader(data)
    return [_plan(reader) for _ in range(reader.number())]


def _put_chunk(numbers: "array[int]", chunk: Chunk) -> None:
    scoring = chunk.scoring
    numbers.extend((chunk.key, chunk.start, chunk.num_logits_rows, chunk.adapter_id, _POOLINGS.index(chunk.pooling)))
    _put_list(numbers, chunk.token_ids)
    _put_list(numbers, chunk.block_ids)
    numbers.append(scoring is not None)
    if scoring is not None:
        numbers.extend((scoring.first, scoring.num_alternatives))
        _put_list(numbers, scoring.target_ids)


def _put_list(numbers: "array[int]", values: "array[int] | list[int]") -> None:
    numbers.append(len(values))
    numbers.extend(values)


class _Reader:
    """Takes numbers from the front."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._numbers = array("q", bytes(data))
        self._next = 0

    def number(self) -> int:
        self._next += 1
        return self._numbers[self._next - 1]

    def numbers(self) -> "array[int]":
        begin = self._next + 1
        self._next = begin + self._numbers[self._next]
        return self._numbers[begin : self._next]


def _plan(reader: _Reader) -> StepPlan:
    fresh_block_ids = list(reader.numbers())
    return StepPlan([_chunk(reader) for _ in range(reader.number())], fresh_block_ids)


def _chunk(reader: _Reader) -> Chunk:
    key, start, num_logits_rows, adapter_id, pooling = (reader.number() for _ in range(5))
    token_ids, block_ids = reader.numbers(), reader.numbers()
    scoring = None
    if reader.number():
        first, num_alternatives = reader.number(), reader.number()
        scoring = Scoring(first, reader.numbers(), num_alternatives)
    return Chunk(key, token_ids, start, block_ids, num_logits_rows, scoring, _POOLINGS[pooling], adapter_id)
