"""What makes two requests the same: the digest that an answer is kept under, and whether there is one answer at all."""

import hashlib
import json
from typing import Any

from penstock_gateway.requests import GenerationRequest
from penstock_gateway.sampling import resolve_sampling
from penstock_shared.directory import ModelSpec

# Fields of `GenerationRequest` and of its `cache` that say how an answer is delivered and kept, not what it is. All
# others are part of the key, new ones too; a test walks the contract.
DELIVERY_ONLY = frozenset({"criticality", "is_returning_token_ids", "is_echoing"})
DELIVERY_ONLY_OF_CACHE = frozenset({"mode", "ttl_s", "tags", "max_error_rate"})
# Changed whenever the same answers get other digests.
_FORMAT = 2


def is_determined(asked: GenerationRequest, spec: ModelSpec) -> bool:
    """Whether the request has one answer: greedy, or sampled with a seed that the client knows."""
    temperature = asked.sampling.temperature
    is_greedy = (spec.sampling_defaults.temperature if temperature is None else temperature) == 0
    return is_greedy or asked.sampling.seed is not None


def answer_digest(asked: GenerationRequest, spec: ModelSpec, *, tenant: str, max_output_tokens: int) -> bytes:
    """SHA-256 of the whole resolved request, in canonical JSON, and of whose it is.

    The prompt enters as it was sent, with the fingerprints of what turns it into token ids, so that the lookup need
    not wait for the tokenizer. The number of output tokens enters as the request and the model bound it; what the
    prompt leaves of the context follows from the rest.
    """
    request = _values(asked, DELIVERY_ONLY) | {
        "format": _FORMAT,
        "tenant": tenant,
        "model": _model(spec),
        "adapter": None if asked.adapter is None else [asked.adapter, spec.adapter(asked.adapter)],
        "input": [type(asked.input).__name__, asked.input],
        "sampling": _sampling(asked, spec, max_output_tokens),
        "cache": _values(asked.cache, DELIVERY_ONLY_OF_CACHE),
    }
    return hashlib.sha256(_encode(request).encode()).digest()


def _model(spec: ModelSpec) -> list[Any]:
    """All of a model that an answer depends on; its name does not matter."""
    return [
        spec.revision,
        spec.tokenizer_fingerprint,
        spec.template_fingerprint,
        spec.context_length,
        spec.eos_token_ids,
    ]


def _sampling(asked: GenerationRequest, spec: ModelSpec, max_output_tokens: int) -> dict[str, Any]:
    """The values in force, whether sent or the model's own. A seed that nobody asked for is left out."""
    resolved = resolve_sampling(
        asked.sampling,
        spec.sampling_defaults,
        tokens_left=spec.context_length,
        max_output_tokens=max_output_tokens,
        draw_seed=int,
    )
    return _values(asked.sampling) | _values(resolved) | {"seed": asked.sampling.seed}


def _values(dataclass: Any, left_out: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The fields of a dataclass, as they are: `asdict` would copy all that is in them."""
    return {name: getattr(dataclass, name) for name in dataclass.__dataclass_fields__ if name not in left_out}


_encode = json.JSONEncoder(sort_keys=True, default=_values).encode
