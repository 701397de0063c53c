"""Requests that could not run to their end are refused, with the field's name and what is allowed."""

import math
from dataclasses import replace

import pytest

from penstock_shared.constraint import Constraint, ConstraintKind
from penstock_shared.errors import InvalidArgumentError
from penstock_worker.engine.pooling import EmbeddingOptions, Pooling
from penstock_worker.engine.sequence import SamplingOptions, SequenceRequest
from penstock_worker.engine.validation import EngineLimits, validate_request

LIMITS = EngineLimits(max_running_sequences=4, max_step_tokens=32, context_length=64, block_size=4, num_blocks=16)
VOCAB_SIZE = 100


def _request(prompt: list[int] | None = None, output: list[int] | None = None, **sampling: object) -> SequenceRequest:
    options = SamplingOptions(**({"max_tokens": 5} | sampling))  # type: ignore[arg-type]
    prompt = [1, 2] if prompt is None else prompt
    return SequenceRequest(key=1, prompt_token_ids=prompt, output_token_ids=output or [], sampling=options)


EMBEDDING = replace(_request(), embedding=EmbeddingOptions(Pooling.MEAN, is_normalized=False))


@pytest.mark.parametrize(
    "request_",
    [
        _request(),
        _request([0] * 63),
        _request([99], output=[0] * 80, max_tokens=1000),
        _request(temperature=2.0, top_p=1.0, top_k=0, min_p=1.0, seed=2**64 - 1, logprobs=0, min_tokens=9),
        _request(logit_bias={99: -100.0}, stop_token_ids=frozenset({0, 99})),
        _request(logit_bias={99: -1e30}, presence_penalty=1e30, frequency_penalty=1e30),
    ],
)
def test_what_can_run_is_accepted(request_: SequenceRequest) -> None:
    """The bounds themselves are allowed."""
    validate_request(request_, LIMITS, VOCAB_SIZE)


@pytest.mark.parametrize(
    ("request_", "field", "allowed"),
    [
        (_request([]), "prompt_token_ids", "1 to 63 tokens"),
        (_request([1] * 64), "prompt_token_ids", "1 to 63 tokens"),
        (_request([1, 100]), "prompt_token_ids", "0 to 99"),
        (_request([-1]), "prompt_token_ids", "0 to 99"),
        (_request(output=[100]), "output_token_ids", "0 to 99"),
        (_request(temperature=-0.1), "temperature", "0"),
        (_request(temperature=math.nan), "temperature", "0"),
        (_request(temperature=math.inf), "temperature", "0"),
        (_request(top_p=0.0), "top_p", "above 0, at most 1"),
        (_request(top_p=1.1), "top_p", "above 0, at most 1"),
        (_request(top_k=-1), "top_k", "at least 0"),
        (_request(min_p=1.1), "min_p", "0.0 to 1.0"),
        (_request(repetition_penalty=0.0), "repetition_penalty", "above 0"),
        (_request(presence_penalty=math.nan), "presence_penalty", "-1e+30 to 1e+30"),
        (_request(presence_penalty=1e39), "presence_penalty", "-1e+30 to 1e+30"),
        (_request(frequency_penalty=-math.inf), "frequency_penalty", "-1e+30 to 1e+30"),
        (_request(frequency_penalty=-1e31), "frequency_penalty", "-1e+30 to 1e+30"),
        (_request(seed=-1), "seed", "64 bits"),
        (_request(seed=2**64), "seed", "64 bits"),
        (_request(max_tokens=0), "max_tokens", "at least 1"),
        (_request(min_tokens=-1), "min_tokens", "at least 0"),
        (_request(logprobs=-1), "logprobs", "0 to 100"),
        (_request(logprobs=101), "logprobs", "0 to 100"),
        (_request(stop_token_ids=frozenset({100})), "stop_token_ids", "0 to 99"),
        (_request(logit_bias={100: 1.0}), "logit_bias", "0 to 99"),
        (_request(logit_bias={1: math.inf}), "logit_bias", "-1e+30 to 1e+30"),
        (_request(logit_bias={1: -1e39}), "logit_bias", "-1e+30 to 1e+30"),
        (replace(EMBEDDING, constraint=Constraint(ConstraintKind.REGEX, "a")), "constraint", "beside an embedding"),
        (replace(EMBEDDING, prompt_logprobs=1), "prompt_logprobs", "beside an embedding"),
    ],
)
def test_what_cannot_run_is_refused(request_: SequenceRequest, field: str, allowed: str) -> None:
    """One of these in the engine would fail a step, or never end."""
    with pytest.raises(InvalidArgumentError) as caught:
        validate_request(request_, LIMITS, VOCAB_SIZE)
    assert caught.value.field == field
    assert allowed in caught.value.message
