"""Builds an engine from a checkpoint directory."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from penstock_shared.directory import SamplingDefaults
from penstock_shared.errors import InvalidArgumentError
from penstock_worker.constraints.mask_process import MaskModel
from penstock_worker.constraints.masks import ConstraintMasks
from penstock_worker.engine.adapter_table import AdapterTable
from penstock_worker.engine.attention import StepAttention
from penstock_worker.engine.block_pool import BlockPool
from penstock_worker.engine.build_drafter import OFF, PROMPT_LOOKUP, build_drafter, read_draft_config
from penstock_worker.engine.constraint import ConstraintGate
from penstock_worker.engine.draft_pace import MAX_DRAFT_TOKENS, DraftPace
from penstock_worker.engine.engine import Engine
from penstock_worker.engine.fixed_attention import FixedAttention
from penstock_worker.engine.fixed_pace import FixedPace
from penstock_worker.engine.kv_cache import KvCache
from penstock_worker.engine.memory import KvPlan, activation_bytes, available_kv_bytes, plan_kv_cache, shown_bytes
from penstock_worker.engine.model_runner import ModelRunner
from penstock_worker.engine.prefix_index import PrefixIndex
from penstock_worker.engine.sampler import Sampler
from penstock_worker.engine.scheduler import Scheduler
from penstock_worker.engine.speculation import Speculation
from penstock_worker.engine.validation import EngineLimits
from penstock_worker.models.adapters import AdapterBank
from penstock_worker.models.arithmetic import choose_arithmetic
from penstock_worker.models.decoder import Decoder
from penstock_worker.models.decoder_config import DecoderConfig
from penstock_worker.models.foreign_config import ForeignConfig
from penstock_worker.models.generation import read_eos_token_ids, read_sampling_defaults
from penstock_worker.models.loader import Checkpoint
from penstock_worker.models.model_shape import RunnableModel
from penstock_worker.models.onednn_linear import has_onednn
from penstock_worker.models.packing import choose_quantization, numerics, pack
from penstock_worker.models.placement import choose_device, choose_dtype
from penstock_worker.models.quantization import Quantization
from penstock_worker.models.registry import read_any_config
from penstock_worker.models.revision import weights_revision
from penstock_worker.models.rounded_checkpoint import RoundedCheckpoint
from penstock_worker.models.weight_files import check_one_set_of_weights
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
        is_deterministic: see `EngineConfig`.
        device: e.g. "cpu", "cuda:0".
        kernels: what computes, for the numerics fingerprint.
        num_parameters: tied ones counted once.
        weight_bytes: memory of the weights.
        kv_plan: size of the KV cache.
        drafts: who drafts tokens.
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
    drafts: str = OFF
    is_deterministic: bool = False

    @property
    def plan(self) -> str:
        """The memory plan, some lines to print."""
        kv_plan = self.kv_plan
        precision = f"{self.dtype}, projections {self.quantization}" if self.quantization else self.dtype
        precision += ", deterministic" if self.is_deterministic else ""
        lines = (
            ("model", f"{self.architecture}, {self.num_parameters:,} parameters, {precision} on {self.device}"),
            ("weights", shown_bytes(self.weight_bytes)),
            ("kv cache", f"{shown_bytes(kv_plan.num_bytes)}: {kv_plan.reason}"),
            ("", f"{kv_plan.num_blocks:,} blocks of {kv_plan.block_size} tokens, {kv_plan.num_tokens:,} tokens in all"),
            ("sequence", f"at most {self.context_length:,} tokens of prompt and output"),
            ("drafts", self.drafts),
        )
        return "\n".join(f"{name:<9} {text}" for name, text in lines)


def build_engine(model_dir: Path, config: EngineConfig) -> tuple[Engine, LoadedModel]:
    """Loads the checkpoint in `model_dir` and sizes the KV cache.

    Raises:
        InvalidArgumentError: the checkpoint or a setting is not supported; says what is.
    """
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    architecture, model_config = read_any_config(model_dir)
    eos_token_ids = read_eos_token_ids(model_dir, model_config.vocab_size)
    sampling_defaults = read_sampling_defaults(model_dir)
    checkpoint = Checkpoint(model_dir)
    if isinstance(model_config, DecoderConfig):
        model = _load_own(checkpoint, model_config, config)
    else:
        model = _load_foreign(model_dir, checkpoint, architecture, model_config, config)
    draft = _load_draft(model_dir, model, config)
    kv_plan = _plan_kv_cache(model, config, draft)
    revision = weights_revision(model_dir, checkpoint.files)
    scheduler = _scheduler(kv_plan, config)
    engine = Engine(
        scheduler=scheduler,
        runner=_runner(model, kv_plan, config),
        sampler=Sampler(),
        limits=_limits(kv_plan, config),
        vocab_size=model_config.vocab_size,
        eos_token_ids=frozenset(eos_token_ids),
        revision=revision,
        adapters=AdapterTable(model.adapters),
        constraints=_constraints(model_dir, model_config.vocab_size, eos_token_ids),
        speculation=_speculation(draft, scheduler, kv_plan, config),
    )
    loaded = LoadedModel(
        architecture=architecture,
        revision=revision,
        context_length=kv_plan.context_length,
        vocab_size=model_config.vocab_size,
        eos_token_ids=eos_token_ids,
        sampling_defaults=sampling_defaults,
        dtype=str(model.dtype).removeprefix("torch."),
        quantization=model.quantization,
        device=str(model.device),
        kernels=_kernels(model, config),
        num_parameters=model.num_parameters,
        weight_bytes=model.num_bytes,
        kv_plan=kv_plan,
        drafts=config.speculate if draft is None else f"{config.speculate}, {shown_bytes(draft.num_bytes)}",
        is_deterministic=config.deterministic,
    )
    return engine, loaded


def _load_own(checkpoint: Checkpoint, model_config: DecoderConfig, config: EngineConfig) -> RunnableModel:
    """A model of one of the families, on our own decoder."""
    device = choose_device(config.device)
    stored_format = model_config.stored_format
    quantization = choose_quantization(config.quantize, device, stored_format)
    source = checkpoint if stored_format is None else RoundedCheckpoint(checkpoint, stored_format)
    dtype = choose_dtype(config.dtype, source.stored_dtypes(), device)
    num_parameters = check_tensors(source, model_config)
    arithmetic = choose_arithmetic(partial(pack, quantization=quantization), device, is_fixed=config.deterministic)
    weights = WeightReader(
        source, model_config, dtype=dtype, device=device, pack=arithmetic.pack, activations=arithmetic.activations
    ).read()
    return RunnableModel(
        model=Decoder(model_config, weights, arithmetic.rotate),
        shape=model_config,
        attention=model_config.attention,
        dtype=weights.dtype,
        device=weights.device,
        num_parameters=num_parameters,
        num_bytes=weights.num_bytes,
        quantization=numerics(quantization, stored_format),
        adapters=AdapterBank(model_config, weights, arithmetic.make_kernel),
    )


def _load_foreign(
    model_dir: Path, checkpoint: Checkpoint, architecture: str, model_config: ForeignConfig, config: EngineConfig
) -> RunnableModel:
    """Another model, on transformers' own module, which is imported only then."""
    try:
        from penstock_worker.engine.foreign_model import load_foreign_model  # noqa: PLC0415 it takes seconds and memory
    except ModuleNotFoundError as error:
        allowed = f"a family of docs/models.md; for others install penstock[transformers] ({error})"
        raise InvalidArgumentError("config.json architectures", architecture, allowed) from None
    if config.quantize != "none":
        raise InvalidArgumentError("quantize", config.quantize, f"none for {architecture}, which transformers runs")
    if config.deterministic:
        raise InvalidArgumentError("deterministic", "true", f"false for {architecture}, which transformers runs")
    check_one_set_of_weights(model_dir)
    device = choose_device(config.device)
    dtype = choose_dtype(config.dtype, checkpoint.stored_dtypes(), device)
    return load_foreign_model(model_dir, architecture, model_config, dtype=dtype, device=device)


def _load_draft(model_dir: Path, model: RunnableModel, config: EngineConfig) -> RunnableModel | None:
    """The smaller checkpoint that drafts, where there is one: on the target's device, in its dtype."""
    if config.speculate in (OFF, PROMPT_LOOKUP):
        return None
    directory = Path(config.speculate)
    draft_config = read_draft_config(directory, model_dir, model.shape.vocab_size)
    like_target = replace(config, dtype=str(model.dtype).removeprefix("torch."), deterministic=False)
    return _load_own(Checkpoint(directory), draft_config, like_target)


def _speculation(
    draft: RunnableModel | None, scheduler: Scheduler, kv_plan: KvPlan, config: EngineConfig
) -> Speculation | None:
    drafter = None if config.speculate == OFF else build_drafter(draft, kv_plan)
    if drafter is None:
        return None
    pace = DraftPace() if config.draft_tokens is None else FixedPace(config.draft_tokens)
    return Speculation(drafter, scheduler, pace, max_step_tokens=config.max_step_tokens)


def _plan_kv_cache(model: RunnableModel, config: EngineConfig, draft: RunnableModel | None) -> KvPlan:
    reserved_bytes = activation_bytes(
        model.shape, max_step_tokens=config.max_step_tokens, max_running_sequences=config.max_running_sequences
    )
    return plan_kv_cache(
        model.shape,
        dtype=model.dtype,
        block_size=config.block_size,
        max_running_sequences=config.max_running_sequences,
        limit_bytes=config.kv_memory_bytes,
        available_bytes=available_kv_bytes(model.device, reserved_bytes),
        draft=None if draft is None else draft.shape,
    )


def _scheduler(kv_plan: KvPlan, config: EngineConfig) -> Scheduler:
    return Scheduler(
        BlockPool(kv_plan.num_blocks, kv_plan.block_size, PrefixIndex() if config.prefix_cache else None),
        max_running_sequences=config.max_running_sequences,
        max_step_tokens=config.max_step_tokens,
    )


def _runner(model: RunnableModel, kv_plan: KvPlan, config: EngineConfig) -> ModelRunner:
    shape = model.shape
    size = (shape.num_layers, kv_plan.num_blocks + 1, kv_plan.block_size, 2 * shape.num_kv_heads, shape.head_dim)
    cache = KvCache(torch.empty(size, dtype=model.dtype, device=model.device))
    step_attention = FixedAttention if config.deterministic else StepAttention
    return ModelRunner(model.model, cache, model.attention, model.adapters, step_attention)


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


def _kernels(model: RunnableModel, config: EngineConfig) -> str:
    """The libraries, their versions, and the card, or the instruction set of the CPU, that they compute with."""
    libraries = f"{model.library} torch {torch.__version__}".lstrip()
    if model.device.type == "cuda":
        return f"{libraries} {torch.cuda.get_device_name(model.device)}"
    onednn = " oneDNN" if has_onednn(model.device) and not model.library else ""
    kernels = f"{libraries}{onednn} {torch.backends.cpu.get_cpu_capability()}"
    return f"{kernels} {FixedAttention.numerics(config.block_size)}" if config.deterministic else kernels
