"""Builds an engine from a checkpoint directory."""

from dataclasses import dataclass
from pathlib import Path

from penstock_shared.directory import SamplingDefaults

from penstock_worker.engine.engine import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """What an operator may set.

    Attributes:
        device: "auto", "cpu", "cuda" or "cuda:N".
        dtype: "auto", "float32", "bfloat16" or "float16".
        kv_memory_bytes: size of the KV cache; None sizes it from the memory there is.
        max_running_sequences: sequences computed at one time.
        max_step_tokens: most tokens computed in one step.
        block_size: tokens of one KV block.
        num_threads: threads of one CPU operation; None leaves torch's choice. Holds for the whole process.
    """

    device: str = "auto"
    dtype: str = "auto"
    kv_memory_bytes: int | None = None
    max_running_sequences: int = 64
    max_step_tokens: int = 2048
    block_size: int = 16
    num_threads: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """What was loaded.

    Attributes:
        architecture: as in config.json.
        revision: digest of the weights' manifest.
        context_length: most tokens of prompt and output together, also bounded by the KV cache.
        vocab_size: token ids are below it.
        eos_token_ids: tokens that end an output.
        sampling_defaults: from generation_config.json.
        dtype: of weights, activations and KV cache, e.g. "float32".
        device: e.g. "cpu", "cuda:0".
        kernels: names what computes, for the numerics fingerprint.
        num_parameters: tied ones counted once.
        weight_bytes: memory of the weights.
        plan: the memory plan, some lines to print.
    """

    architecture: str
    revision: str
    context_length: int
    vocab_size: int
    eos_token_ids: tuple[int, ...]
    sampling_defaults: SamplingDefaults
    dtype: str
    device: str
    kernels: str
    num_parameters: int
    weight_bytes: int
    plan: str


def build_engine(model_dir: Path, config: EngineConfig) -> tuple[Engine, LoadedModel]:
    """Loads the checkpoint in `model_dir` and sizes the KV cache.

    Raises:
        InvalidArgumentError: the checkpoint or a setting is not supported; says what is.
    """
    raise NotImplementedError
