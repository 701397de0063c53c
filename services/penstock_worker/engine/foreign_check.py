"""Whether a model of no family of ours computes with our attention what transformers computes."""

from array import array
from collections.abc import Sequence

import torch

from penstock_worker.engine.kv_cache import KvCache
from penstock_worker.engine.model_runner import ModelRunner
from penstock_worker.engine.plan import Chunk, StepPlan
from penstock_worker.models.attention_config import AttentionConfig
from penstock_worker.models.foreign_decoder import ForeignDecoder
from penstock_worker.models.model_shape import ModelShape

_BLOCK_SIZE = 8
_NUM_CHECK_TOKENS = 40
_MAX_CHECK_TOKENS = 640
_TOLERANCE = 1e-3
# Of what only a neighbour changes.
_NEIGHBOUR_TOLERANCE = 1e-4
# Of both, in half precision. There a router may send a token elsewhere for a last bit, so not every row counts.
_HALF_PRECISION_TOLERANCE = 5e-2
_HALF_PRECISION_SHARE = 0.9


def check_against_transformers(
    decoder: ForeignDecoder,
    shape: ModelShape,
    attention: AttentionConfig,
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    """Compares two sequences, computed together in chunks, with what transformers says of each alone.

    Each is longer than the windows where those are short, so that a window which only transformers' masks know shows.
    And what stands beside a sequence must not change it.

    Raises:
        ValueError: the model must not run here; says why.
    """
    longest_window = max((window for window in attention.windows if window is not None), default=0)
    wanted = min(max(_NUM_CHECK_TOKENS, longest_window + _BLOCK_SIZE), _MAX_CHECK_TOKENS, shape.context_length)
    first, second, other = ([(step * index + 1) % shape.vocab_size for index in range(wanted)] for step in (7, 11, 13))
    num_blocks = 2 * -(-wanted // _BLOCK_SIZE)
    size = (shape.num_layers, num_blocks + 1, _BLOCK_SIZE, 2 * shape.num_kv_heads, shape.head_dim)
    runner = ModelRunner(decoder, KvCache(torch.empty(size, dtype=dtype, device=device)), attention)
    together = _computed(runner, [first, second], num_blocks)
    for tokens, ours in zip((first, second), together, strict=True):
        error = _difference(ours, decoder.reference_logits(torch.tensor(tokens, device=device)), dtype)
        if not error <= _tolerance(dtype, _TOLERANCE):
            raise ValueError(f"its logits differ from transformers' own by {error:.0e} with paged attention")
    error = _difference(_computed(runner, [first, other[: wanted // 2 + 1]], num_blocks)[0], together[0], dtype)
    if not error <= _tolerance(dtype, _NEIGHBOUR_TOLERANCE):
        raise ValueError(f"its logits of one text differ by {error:.0e} with what is computed beside it")


def _computed(runner: ModelRunner, sequences: Sequence[Sequence[int]], num_blocks: int) -> list[torch.Tensor]:
    """Logits of sequences, computed together, each in two chunks: float32 [length, vocab_size] each."""
    half = len(sequences[0]) // 2
    own = num_blocks // len(sequences)
    parts: list[list[torch.Tensor]] = [[] for _ in sequences]
    for begin, end in ((0, half), (half, None)):
        chunks = []
        for key, tokens in enumerate(sequences):
            chunk, blocks = array("q", tokens[begin:end]), array("q", range(key * own, (key + 1) * own))
            chunks.append(Chunk(key, chunk, begin, blocks, len(chunk)))
        values = runner.run(StepPlan(chunks, [] if begin else list(range(num_blocks)))).values
        for part, of_chunk in zip(parts, torch.split(values, [len(chunk.token_ids) for chunk in chunks]), strict=True):
            part.append(of_chunk)
    return [torch.cat(part) for part in parts]


def _difference(ours: torch.Tensor, theirs: torch.Tensor, dtype: torch.dtype) -> float:
    """How far rows are apart, as a share of their norms: the worst of those that count; NaN where one is no number."""
    errors = (ours - theirs).norm(dim=-1) / theirs.norm(dim=-1)
    return float(errors.quantile(1.0 if dtype == torch.float32 else _HALF_PRECISION_SHARE))


def _tolerance(dtype: torch.dtype, of_float32: float) -> float:
    return of_float32 if dtype == torch.float32 else _HALF_PRECISION_TOLERANCE
