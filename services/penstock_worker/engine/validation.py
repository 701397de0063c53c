"""Refuses requests that can never run here, before they touch anything that others share. Needs no torch."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.engine.sequence import SamplingOptions, SequenceRequest

_MAX_SEED = 2**64 - 1
# Logits are float32. With this, times any number of tokens, they stay finite; and it ranks above or below all else.
_GREATEST_EDIT = 1e30


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """What an engine is sized for.

    Attributes:
        max_running_sequences: sequences computed at one time.
        max_step_tokens: most tokens computed in one step.
        context_length: most tokens of prompt and output together; a sequence of this length fits into the KV blocks.
        block_size: tokens of one KV block.
        num_blocks: KV blocks.
        has_prefix_cache: whether blocks are found again by their tokens.
    """

    max_running_sequences: int
    max_step_tokens: int
    context_length: int
    block_size: int
    num_blocks: int
    has_prefix_cache: bool = False


def validate_request(request: SequenceRequest, limits: EngineLimits, vocab_size: int) -> None:
    """Raises InvalidArgumentError, naming the field, where `request` could not run to its end."""
    num_prompt_tokens = len(request.prompt_token_ids)
    allowed = f"1 to {limits.context_length - 1} tokens"
    _check(1 <= num_prompt_tokens < limits.context_length, "prompt_token_ids", f"{num_prompt_tokens} tokens", allowed)
    _check_token_ids("prompt_token_ids", request.prompt_token_ids, vocab_size)
    _check_token_ids("output_token_ids", request.output_token_ids, vocab_size)
    prompt_logprobs = request.prompt_logprobs or 0
    _check(0 <= prompt_logprobs <= vocab_size, "prompt_logprobs", prompt_logprobs, f"0 to {vocab_size}")
    _check(request.prompt_logprob_offset >= 1, "prompt_logprob_offset", request.prompt_logprob_offset, "at least 1")
    if request.embedding is not None:
        _check(request.constraint is None, "constraint", request.constraint, "none beside an embedding")
        _check(request.prompt_logprobs is None, "prompt_logprobs", prompt_logprobs, "none beside an embedding")
    _check_sampling(request.sampling, vocab_size)


def _check_sampling(sampling: SamplingOptions, vocab_size: int) -> None:
    _check_between("temperature", sampling.temperature, 0.0, math.inf)
    _check(0.0 < sampling.top_p <= 1.0, "top_p", sampling.top_p, "above 0, at most 1")
    _check(sampling.top_k >= 0, "top_k", sampling.top_k, "at least 0")
    _check_between("min_p", sampling.min_p, 0.0, 1.0)
    _check(0.0 < sampling.repetition_penalty < math.inf, "repetition_penalty", sampling.repetition_penalty, "above 0")
    _check_between("presence_penalty", sampling.presence_penalty, -_GREATEST_EDIT, _GREATEST_EDIT)
    _check_between("frequency_penalty", sampling.frequency_penalty, -_GREATEST_EDIT, _GREATEST_EDIT)
    _check(0 <= sampling.seed <= _MAX_SEED, "seed", sampling.seed, "64 bits")
    _check(sampling.max_tokens >= 1, "max_tokens", sampling.max_tokens, "at least 1")
    _check(sampling.min_tokens >= 0, "min_tokens", sampling.min_tokens, "at least 0")
    logprobs = sampling.logprobs or 0
    _check(0 <= logprobs <= vocab_size, "logprobs", sampling.logprobs, f"0 to {vocab_size}")
    _check_token_ids("stop_token_ids", sampling.stop_token_ids, vocab_size)
    _check_token_ids("logit_bias", sampling.logit_bias, vocab_size)
    for bias in sampling.logit_bias.values():
        _check_between("logit_bias", bias, -_GREATEST_EDIT, _GREATEST_EDIT)


def _check_token_ids(field: str, token_ids: Iterable[int], vocab_size: int) -> None:
    low, high = min(token_ids, default=0), max(token_ids, default=0)
    _check(low >= 0, field, low, f"token ids from 0 to {vocab_size - 1}")
    _check(high < vocab_size, field, high, f"token ids from 0 to {vocab_size - 1}")


def _check_between(field: str, value: float, low: float, high: float) -> None:
    _check(low <= value <= high and math.isfinite(value), field, value, f"{low} to {high}")


def _check(is_allowed: bool, field: str, value: object, allowed: str) -> None:
    if not is_allowed:
        raise InvalidArgumentError(field, value, allowed)
