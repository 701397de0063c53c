"""What an operator may set of an engine."""

from dataclasses import dataclass

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.engine.draft_pace import MAX_DRAFT_TOKENS
from penstock_worker.models.quantization import Quantization

OFF = "off"
PROMPT_LOOKUP = "prompt-lookup"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """What an operator may set.

    Attributes:
        device: "auto", "cpu", "cuda" or "cuda:N".
        dtype: "auto", "float32", "bfloat16" or "float16".
        quantize: "none", "int8" or "int4", or another quantization of projections.
        kv_memory_bytes: size of the KV cache; None sizes it from the memory there is.
        max_running_sequences: sequences computed at one time.
        max_step_tokens: most tokens computed in one step.
        block_size: tokens of one KV block.
        prefix_cache: whether keys and values of equal beginnings are computed once.
        speculate: "off", "prompt-lookup", or the directory of a smaller checkpoint with the same tokenizer.
        draft_tokens: length of every draft; None: as long as pays, by the clock.
        deterministic: whether a token's logits have the same bits whatever is computed beside its sequence; on a CPU.
        num_threads: threads of one CPU operation; None leaves torch's choice. Holds for the whole process.
    """

    device: str = "auto"
    dtype: str = "auto"
    quantize: str | Quantization = "none"
    kv_memory_bytes: int | None = None
    max_running_sequences: int = 64
    max_step_tokens: int = 2048
    block_size: int = 16
    prefix_cache: bool = True
    speculate: str = OFF
    draft_tokens: int | None = None
    deterministic: bool = False
    num_threads: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_running_sequences", "max_step_tokens", "block_size"):
            if getattr(self, name) < 1:
                raise InvalidArgumentError(name, getattr(self, name), "at least 1")
        if self.draft_tokens is not None and not 1 <= self.draft_tokens <= MAX_DRAFT_TOKENS:
            raise InvalidArgumentError("draft_tokens", self.draft_tokens, f"1 to {MAX_DRAFT_TOKENS}")
