"""Builds an engine from a checkpoint directory."""

from dataclasses import dataclass
from pathlib import Path

import torch

from penstock_shared.directory import SamplingDefaults
from penstock_shared.errors import InvalidArgumentError
from penstock_worker.constraints.mask_process import MaskModel
from penstock_worker.constraints.masks import ConstraintMasks
from penstock_worker.engine.adapter_table import AdapterTable
from penstock_worker.engine.block_pool import BlockPool
from penstock_worker.engine.constraint import ConstraintGate
from penstock_worker.engine.engine import Engine
from penstock_worker.engine.kv_cache import KvCache
from penstock_worker.engine.memory import KvPlan, activation_bytes, available_kv_bytes, plan_kv_cache, shown_bytes
from penstock_worker.engine.model_runner import ModelRunner
from penstock_worker.engine.prefix_index import PrefixIndex
from penstock_worker.engine.sampler import Sampler
from penstock_worker.engine.scheduler import Scheduler
from penstock_worker.engine.validation import EngineLimits
from penstock_worker.models.adapters import AdapterBank
from penstock_worker.models.decoder import Decoder
from penstock_worker.models.decoder_config import DecoderConfig
from penstock_worker.models.decoder_weights import DecoderWeights
from penstock_worker.models.generation import read_eos_token_ids, read_sampling_defaults
from penstock_worker.models.loader import Checkpoint
from penstock_worker.models.onednn_linear import has_onednn
from penstock_worker.models.packing import choose_quantization, numerics, pack
from penstock_worker.models.placement import choose_device, choose_dtype
from penstock_worker.models.quantization import Quantization
from penstock_worker.models.registry import read_model_config
from penstock_worker.models.revision import weights_revision
from penstock_worker.models.rounded_checkpoint import RoundedCheckpoint
from penstock_worker.models.weight_reader import WeightReader, check_tensors


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
    num_threads: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_running_sequences", "max_step_tokens", "block_size"):
            if getattr(self, name) < 1:
                raise InvalidArgumentError(name, getattr(self, name), "at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """What was loaded.

    Attributes:
        architecture: as in config.json.
        revision: names the weights; see `models.revision`.
        context_length: most tokens of prompt and output together: the model's, unless the KV cache holds fewer.
        vocab_size: token ids are below it.
        eos_token_ids: tokens that end an output.
        sampling_defaults: from generation_config.json.
        dtype: of activations, KV cache and whatever weights are not quantized, e.g. "float32".
        quantization: how projections were rounded at load, e.g. "w8a8"; empty where they were not.
        device: e.g. "cpu", "cuda:0".
        kernels: what computes, for the numerics fingerprint.
        num_parameters: tied ones counted once.
        weight_bytes: memory of the weights.
        kv_plan: size of the KV cache.
    """

    architecture: str
    revision: str
    context_length: int
    vocab_size: int
    eos_token_ids: tuple[int, ...]
    sampling_defaults: SamplingDefaults
    dtype: str
    quantization: str
    device: str
    kernels: str
    num_parameters: int
    weight_bytes: int
    kv_plan: KvPlan

    @property
    def plan(self) -> str:
        """The memory plan, some lines to print."""
        kv_plan = self.kv_plan
        precision = f"{self.dtype}, projections {self.quantization}" if self.quantization else self.dtype
        lines = (
            ("model", f"{self.architecture}, {self.num_parameters:,} parameters, {precision} on {self.device}"),
            ("weights", shown_bytes(self.weight_bytes)),
            ("kv cache", f"{shown_bytes(kv_plan.num_bytes)}: {kv_plan.reason}"),
            ("", f"{kv_plan.num_blocks:,} blocks of {kv_plan.block_size} tokens, {kv_plan.num_tokens:,} tokens in all"),
            ("sequence", f"at most {self.context_length:,} tokens of prompt and output"),
        )
        return "\n".join(f"{name:<9} {text}" for name, text in lines)


def build_engine(model_dir: Path, config: EngineConfig) -> tuple[Engine, LoadedModel]:
    """Loads the checkpoint in `model_dir` and sizes the KV cache.

    Raises:
        InvalidArgumentError: the checkpoint or a setting is not supported; says what is.
    """
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    architecture, model = read_model_config(model_dir)
    eos_token_ids = read_eos_token_ids(model_dir, model.vocab_size)
    sampling_defaults = read_sampling_defaults(model_dir)
    checkpoint = Checkpoint(model_dir)
    quantization = choose_quantization(config.quantize, choose_device(config.device), model.stored_format)
    weights = _read_weights(checkpoint, model, config)
    num_parameters = sum(tensor.numel() for tensor in weights.tensors())
    pack(weights, quantization)
    kv_plan = _plan_kv_cache(model, weights, config)
    revision = weights_revision(model_dir, checkpoint.files)
    bank = AdapterBank(model, weights)
    engine = Engine(
        scheduler=_scheduler(kv_plan, config),
        runner=_runner(model, weights, kv_plan, bank),
        sampler=Sampler(),
        limits=_limits(kv_plan, config),
        vocab_size=model.vocab_size,
        eos_token_ids=frozenset(eos_token_ids),
        revision=revision,
        adapters=AdapterTable(bank),
        constraints=_constraints(model_dir, model.vocab_size, eos_token_ids),
    )
    loaded = LoadedModel(
        architecture=architecture,
        revision=revision,
        context_length=kv_plan.context_length,
        vocab_size=model.vocab_size,
        eos_token_ids=eos_token_ids,
        sampling_defaults=sampling_defaults,
        dtype=str(weights.dtype).removeprefix("torch."),
        quantization=numerics(quantization, model.stored_format),
        device=str(weights.device),
        kernels=_kernels(weights.device),
        num_parameters=num_parameters,
        weight_bytes=weights.num_bytes,
        kv_plan=kv_plan,
    )
    return engine, loaded


def _read_weights(checkpoint: Checkpoint, model: DecoderConfig, config: EngineConfig) -> DecoderWeights:
    device = choose_device(config.device)
    source = checkpoint if model.stored_format is None else RoundedCheckpoint(checkpoint, model.stored_format)
    dtype = choose_dtype(config.dtype, source.stored_dtypes(), device)
    check_tensors(source, model)
    return WeightReader(source, model, dtype=dtype, device=device).read()


def _plan_kv_cache(model: DecoderConfig, weights: DecoderWeights, config: EngineConfig) -> KvPlan:
    reserved_bytes = activation_bytes(
        model, max_step_tokens=config.max_step_tokens, max_running_sequences=config.max_running_sequences
    )
    return plan_kv_cache(
        model,
        dtype=weights.dtype,
        block_size=config.block_size,
        max_running_sequences=config.max_running_sequences,
        limit_bytes=config.kv_memory_bytes,
        available_bytes=available_kv_bytes(weights.device, reserved_bytes),
    )


def _scheduler(kv_plan: KvPlan, config: EngineConfig) -> Scheduler:
    return Scheduler(
        BlockPool(kv_plan.num_blocks, kv_plan.block_size, PrefixIndex() if config.prefix_cache else None),
        max_running_sequences=config.max_running_sequences,
        max_step_tokens=config.max_step_tokens,
    )


def _runner(model: DecoderConfig, weights: DecoderWeights, kv_plan: KvPlan, bank: AdapterBank) -> ModelRunner:
    shape = (model.num_layers, kv_plan.num_blocks + 1, kv_plan.block_size, 2 * model.num_kv_heads, model.head_dim)
    cache = KvCache(torch.empty(shape, dtype=weights.dtype, device=weights.device))
    return ModelRunner(Decoder(model, weights), cache, model.attention, bank)


def _constraints(model_dir: Path, vocab_size: int, eos_token_ids: tuple[int, ...]) -> ConstraintGate | None:
    """Applies constraints, where the checkpoint has what that needs."""
    tokenizer_file = model_dir / "tokenizer.json"
    if not tokenizer_file.is_file() or not eos_token_ids:
        return None
    source = ConstraintMasks(MaskModel(tokenizer_file, vocab_size, eos_token_ids))
    return ConstraintGate(source, vocab_size=vocab_size, eos_token_ids=frozenset(eos_token_ids))


def _limits(kv_plan: KvPlan, config: EngineConfig) -> EngineLimits:
    return EngineLimits(
        max_running_sequences=config.max_running_sequences,
        max_step_tokens=config.max_step_tokens,
        context_length=kv_plan.context_length,
        block_size=kv_plan.block_size,
        num_blocks=kv_plan.num_blocks,
        has_prefix_cache=config.prefix_cache,
    )


def _kernels(device: torch.device) -> str:
    """The library, its version, and the card, or the library and instruction set of the CPU, that it computes with."""
    if device.type == "cuda":
        return f"torch {torch.__version__} {torch.cuda.get_device_name(device)}"
    library = " oneDNN" if has_onednn(device) else ""
    return f"torch {torch.__version__}{library} {torch.backends.cpu.get_cpu_capability()}"
