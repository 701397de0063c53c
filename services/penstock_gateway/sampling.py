"""Sampling parameters with everything filled in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from penstock_gateway.requests import SamplingRequest
from penstock_shared.directory import SamplingDefaults

NumberT = TypeVar("NumberT", int, float)


@dataclass(frozen=True, slots=True)
class ResolvedSampling:
    """The parameters in force; units and ranges stand in `types.v1.SamplingParams`."""

    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    seed: int
    n: int
    max_tokens: int
    min_tokens: int
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    ignore_eos: bool = False


def resolve_sampling(
    asked: SamplingRequest,
    defaults: SamplingDefaults,
    *,
    tokens_left: int,
    max_output_tokens: int,
    draw_seed: Callable[[], int],
) -> ResolvedSampling:
    """Fills in what the request left open.

    Args:
        asked: valid fields of the request.
        defaults: the model's own.
        tokens_left: what the context leaves for output; at least 1.
        max_output_tokens: the service's bound for requests that name none.
        draw_seed: makes a seed where the request has none.
    """
    wanted = asked.max_tokens or defaults.max_tokens or max_output_tokens
    max_tokens = min(wanted, tokens_left, max_output_tokens)
    return ResolvedSampling(
        temperature=_first(asked.temperature, defaults.temperature),
        top_p=_first(asked.top_p, defaults.top_p),
        top_k=_first(asked.top_k, defaults.top_k),
        min_p=_first(asked.min_p, defaults.min_p),
        repetition_penalty=_first(asked.repetition_penalty, defaults.repetition_penalty),
        presence_penalty=_first(asked.presence_penalty, defaults.presence_penalty),
        frequency_penalty=_first(asked.frequency_penalty, defaults.frequency_penalty),
        seed=draw_seed() if asked.seed is None else asked.seed,
        n=_first(asked.n, 1),
        max_tokens=max_tokens,
        min_tokens=min(asked.min_tokens or 0, max_tokens),
        stop=asked.stop,
        stop_token_ids=asked.stop_token_ids,
        logit_bias=asked.logit_bias,
        logprobs=asked.logprobs,
        prompt_logprobs=asked.prompt_logprobs,
        ignore_eos=bool(asked.ignore_eos),
    )


def _first(asked: NumberT | None, default: NumberT) -> NumberT:
    return default if asked is None else asked
