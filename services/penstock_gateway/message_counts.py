"""How many entries the lists of a request may have.

Counted on the message itself: 14 MB can hold seven million empty entries, and to make a value of each takes a minute.
"""

from penstock.inference.v1 import inference_pb2
from penstock_gateway.capabilities import Limits
from penstock_shared.errors import InvalidArgumentError


def check_generation_counts(message: inference_pb2.GenerationRequest, limits: Limits) -> None:
    """Checks all lists of a request.

    Raises:
        InvalidArgumentError: one has too many entries.
    """
    sampling, policy = message.sampling, message.cache
    _check("request.sampling.stop", len(sampling.stop), limits.max_stop_strings)
    _check("request.sampling.stop_token_ids", len(sampling.stop_token_ids), limits.max_stop_token_ids)
    _check("request.sampling.logit_bias", len(sampling.logit_bias), limits.max_logit_bias)
    _check("request.cache.tags", len(policy.tags), limits.max_cache_tags)
    _check("request.constraint.choice.options", len(message.constraint.choice.options), limits.max_choice_options)
    check_input_counts(message.input, limits, field="request.input")


def check_embed_counts(message: inference_pb2.EmbedRequest, limits: Limits) -> None:
    """Checks all lists of a request for embeddings.

    Raises:
        InvalidArgumentError: one has too many entries.
    """
    _check("inputs", len(message.inputs), limits.max_embed_inputs)
    for index, given in enumerate(message.inputs):
        check_input_counts(given, limits, field=f"inputs[{index}]")


def check_input_counts(message: inference_pb2.Input, limits: Limits, *, field: str) -> None:
    """Checks the lists of an input, whose path is `field`.

    Raises:
        InvalidArgumentError: one has too many entries.
    """
    _check(f"{field}.token_ids.ids", len(message.token_ids.ids), limits.max_input_bytes)  # a token is at least a byte
    _check(f"{field}.chat.messages", len(message.chat.messages), limits.max_messages)
    _check(f"{field}.chat.tools", len(message.chat.tools), limits.max_messages)
    for index, turn in enumerate(message.chat.messages):
        _check(f"{field}.chat.messages[{index}].tool_calls", len(turn.tool_calls), limits.max_tool_calls)


def _check(field: str, count: int, maximum: int) -> None:
    if count > maximum:
        raise InvalidArgumentError(field, f"{count} entries", f"at most {maximum} entries")
