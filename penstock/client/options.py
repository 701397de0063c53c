"""What a caller may ask for. Units, ranges and meaning are those of `inference.proto` and `types.proto`.

An absent option means the model's own default, which differs from zero.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict

JsonSchema = str | Mapping[str, Any]


class ToolCall(TypedDict):
    """A call that the model made; `arguments` as a mapping or as JSON text."""

    id: str
    name: str
    arguments: JsonSchema


class Message(TypedDict):
    """One turn of a conversation. `role` is "system", "user", "assistant" or "tool"."""

    role: str
    content: str
    tool_calls: NotRequired[Sequence[ToolCall]]
    tool_call_id: NotRequired[str]
    name: NotRequired[str]


class Tool(TypedDict):
    """A function that the model may call; `parameters` is the JSON schema of its arguments."""

    name: str
    description: NotRequired[str]
    parameters: NotRequired[JsonSchema]


class InputOptions(TypedDict, total=False):
    """Which model, and what it reads: `messages` (with `tools`) or `token_ids`, where no prompt is given."""

    model: str
    messages: Sequence[Message]
    tools: Sequence[Tool]
    token_ids: Sequence[int]


class SamplingOptions(TypedDict, total=False):
    """How the next token is chosen, and when to stop."""

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
    stop: str | Sequence[str]
    stop_token_ids: Sequence[int]
    logit_bias: Mapping[int, float]
    logprobs: int
    prompt_logprobs: int
    ignore_eos: bool


class ConstraintOptions(TypedDict, total=False):
    """What the output must conform to; at most one."""

    json_schema: JsonSchema
    regex: str
    grammar: str
    one_of: Sequence[str]


class CacheOptions(TypedDict, total=False):
    """What the cache may do; `cache_ttl_s` in seconds."""

    cache: Literal["use", "bypass", "refresh"]
    cache_ttl_s: float
    cache_tags: Sequence[str]
    cache_max_error_rate: float
    cache_scope: str


class EmbedOptions(TypedDict, total=False):
    """Which model makes vectors, and how; `pooling` absent: that of the last token."""

    model: str
    pooling: Literal["mean", "last_token"]
    normalize: bool
    criticality: Literal["sheddable", "standard", "critical"]


class GenerationOptions(InputOptions, SamplingOptions, ConstraintOptions, CacheOptions, total=False):
    """Everything that a generation can be told.

    Without `return_token_ids` an answer has text only. With it, the cache gives no answer to another wording.
    """

    adapter: str
    criticality: Literal["sheddable", "standard", "critical"]
    return_token_ids: bool
    echo: bool
