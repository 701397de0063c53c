"""What this server can do: its limits, and the one table of what it cannot do yet."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from penstock_gateway.requests import GenerationRequest
from penstock_shared.errors import UnimplementedError

# Name of a field whose mechanism does not exist yet -> whether a request asks for it.
_UNIMPLEMENTED_FIELDS: Mapping[str, Callable[[GenerationRequest], bool]] = {
    "echo": lambda request: request.is_echoing,
}
UNIMPLEMENTED_RPCS = ("Resume",)
UNIMPLEMENTED = (*_UNIMPLEMENTED_FIELDS, *UNIMPLEMENTED_RPCS)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one request. The fixed ones are those of the contracts; the others are settings."""

    max_input_bytes: int
    max_output_tokens: int
    max_messages: int = 2048
    max_tool_calls: int = 128
    max_choices: int = 16
    max_stop_strings: int = 16
    max_stop_bytes: int = 256
    max_stop_token_ids: int = 64
    max_logit_bias: int = 1024
    max_logprobs: int = 20
    max_constraint_bytes: int = 64 << 10
    max_schema_depth: int = 64
    max_choice_options: int = 1024
    max_cache_ttl_s: float = 90 * 24 * 60 * 60
    max_cache_tags: int = 16
    max_cache_tag_bytes: int = 128
    max_cache_scope_bytes: int = 256
    max_embed_inputs: int = 256


def refuse_unimplemented(request: GenerationRequest) -> None:
    """Raises `UnimplementedError` for the first field that nothing here would act on."""
    for name, is_asked in _UNIMPLEMENTED_FIELDS.items():
        if is_asked(request):
            raise UnimplementedError(name)
