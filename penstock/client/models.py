"""What a server serves and can do."""

from dataclasses import dataclass
from datetime import UTC, datetime

from penstock.client.answer import Usage
from penstock.client.convert import seconds, usage_from_proto
from penstock.inference.v1 import inference_pb2


@dataclass(frozen=True, slots=True)
class Model:
    """A served model.

    Attributes:
        name: what requests call it.
        revision: hash of the weights.
        context_length: most tokens of prompt and output together.
        vocab_size: token ids are below it.
        eos_token_ids: tokens that end an output.
        has_chat_template: whether `messages` can be given.
        num_ready_replicas: replicas that take work now.
        create_time: when the gateway first saw it.
    """

    name: str
    revision: str
    context_length: int
    vocab_size: int
    eos_token_ids: tuple[int, ...]
    has_chat_template: bool
    num_ready_replicas: int
    create_time: datetime | None


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector for each input, in their order, and the tokens that they took."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a server can do, and its limits."""

    server_version: str
    unimplemented: frozenset[str]
    max_choices: int
    max_stop_strings: int
    max_output_tokens: int
    max_message_bytes: int
    max_request_duration_s: float


@dataclass(frozen=True, slots=True)
class TokenCount:
    """How many tokens an input has for `model`."""

    num_tokens: int
    model: str


def model_from_proto(message: inference_pb2.ModelInfo) -> Model:
    """One entry of `ListModels`."""
    spec = message.spec
    created = message.create_time.ToDatetime(tzinfo=UTC) if message.HasField("create_time") else None
    return Model(
        name=spec.name,
        revision=spec.revision,
        context_length=spec.context_length,
        vocab_size=spec.vocab_size,
        eos_token_ids=tuple(spec.eos_token_ids),
        has_chat_template=bool(spec.template_fingerprint),
        num_ready_replicas=message.num_ready_replicas,
        create_time=created,
    )


def capabilities_from_proto(message: inference_pb2.GetCapabilitiesResponse) -> Capabilities:
    """The answer of `GetCapabilities`."""
    return Capabilities(
        server_version=message.server_version,
        unimplemented=frozenset(message.unimplemented),
        max_choices=message.max_choices,
        max_stop_strings=message.max_stop_strings,
        max_output_tokens=message.max_output_tokens,
        max_message_bytes=message.max_message_bytes,
        max_request_duration_s=seconds(message.max_request_duration),
    )


def embeddings_from_proto(response: inference_pb2.EmbedResponse) -> Embeddings:
    """The vectors of a message."""
    vectors = tuple(tuple(embedding.values) for embedding in response.embeddings)
    return Embeddings(vectors, usage_from_proto(response.usage))
