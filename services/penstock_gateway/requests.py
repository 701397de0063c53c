"""What a client asks for, as plain values. Nothing here is checked yet; `validation` does that."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock_shared.constraint import Constraint


class Criticality(enum.IntEnum):
    """How important a request is when there is not room for all; the numbers of `types.v1.Criticality`."""

    SHEDDABLE = 1
    STANDARD = 2
    CRITICAL = 3


class CacheMode(enum.IntEnum):
    """What the cache may do; the numbers of `inference.v1.CacheMode`."""

    USE = 1
    BYPASS = 2
    REFRESH = 3


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model made."""

    id: str
    name: str
    arguments_json: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call."""

    name: str
    description: str
    parameters_json_schema: str


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn of a conversation."""

    role: str
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class TextInput:
    """Raw text, without a chat template."""

    text: str


@dataclass(frozen=True, slots=True)
class TokenInput:
    """Token ids, taken as they are."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ChatInput:
    """A conversation, rendered with the model's own template."""

    messages: tuple[ChatMessage, ...]
    tools: tuple[Tool, ...] = ()


Input = TextInput | TokenInput | ChatInput


@dataclass(frozen=True, slots=True)
class SamplingRequest:
    """The sampling fields as sent: None means the model's default. Ranges stand in `types.v1.SamplingParams`."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    n: int | None = None
    max_tokens: int | None = None
    min_tokens: int | None = None
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    ignore_eos: bool | None = None


class Pooling(enum.IntEnum):
    """How token vectors become one; the numbers of `inference.v1.Pooling`."""

    MEAN = 1
    LAST_TOKEN = 2


@dataclass(frozen=True, slots=True)
class EmbeddingOptions:
    """What is made of a prompt in place of generating from it; `is_normalized` scales the vector to length 1."""

    pooling: Pooling
    is_normalized: bool


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """Texts to turn into vectors; the fields of `inference.v1.EmbedRequest`."""

    model: str
    inputs: tuple[Input | None, ...]
    options: EmbeddingOptions
    criticality: Criticality = Criticality.STANDARD


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """The cache policy of one request; the fields of `inference.v1.CachePolicy`."""

    mode: CacheMode = CacheMode.USE
    ttl_s: float | None = None
    tags: tuple[str, ...] = ()
    max_error_rate: float | None = None
    scope: str | None = None


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """The whole of what a client asks for; the fields of `inference.v1.GenerationRequest`."""

    model: str
    input: Input | None
    sampling: SamplingRequest = field(default_factory=SamplingRequest)
    constraint: Constraint | None = None
    adapter: str | None = None
    criticality: Criticality = Criticality.STANDARD
    cache: CachePolicy = field(default_factory=CachePolicy)
    is_returning_token_ids: bool = False
    is_echoing: bool = False
