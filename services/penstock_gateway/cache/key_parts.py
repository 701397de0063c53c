"""What the keys of answers are made of: the parts of a resolved request, and their digest."""

import hashlib
import json
from typing import Any

from penstock_gateway.requests import GenerationRequest
from penstock_gateway.sampling import resolve_sampling
from penstock_shared.directory import ModelSpec

# Fields of `GenerationRequest` and of its `cache` that say how an answer is delivered and kept, not what it is. All
# others are part of the keys, new ones too; tests walk the contract.
DELIVERY_ONLY = frozenset({"criticality", "is_returning_token_ids", "is_echoing"})
DELIVERY_ONLY_OF_CACHE = frozenset({"mode", "ttl_s", "tags", "max_error_rate"})


def request_parts(asked: GenerationRequest, spec: ModelSpec, *, tenant: str) -> dict[str, Any]:
    """All of a request but its input and its sampling, and whose it is."""
    return fields_of(asked, DELIVERY_ONLY) | {
        "tenant": tenant,
        "model": _model(spec),
        "adapter": None if asked.adapter is None else [asked.adapter, spec.adapter(asked.adapter)],
        "cache": fields_of(asked.cache, DELIVERY_ONLY_OF_CACHE),
    }


def sampling_parts(asked: GenerationRequest, spec: ModelSpec, max_output_tokens: int) -> dict[str, Any]:
    """The values in force, whether sent or the model's own. A seed that nobody asked for is left out."""
    resolved = resolve_sampling(
        asked.sampling,
        spec.sampling_defaults,
        tokens_left=spec.context_length,
        max_output_tokens=max_output_tokens,
        draw_seed=int,
    )
    return fields_of(asked.sampling) | fields_of(resolved) | {"seed": asked.sampling.seed}


def fields_of(dataclass: Any, left_out: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The fields of a dataclass, as they are: `asdict` would copy all that is in them."""
    return {name: getattr(dataclass, name) for name in dataclass.__dataclass_fields__ if name not in left_out}


def digest_of(parts: dict[str, Any]) -> bytes:
    """SHA-256 of the canonical JSON."""
    return hashlib.sha256(_encode(parts).encode()).digest()


def _model(spec: ModelSpec) -> list[Any]:
    """All of a model that an answer depends on; its name does not matter."""
    return [
        spec.revision,
        spec.tokenizer_fingerprint,
        spec.template_fingerprint,
        spec.context_length,
        spec.eos_token_ids,
    ]


_encode = json.JSONEncoder(sort_keys=True, default=fields_of).encode
