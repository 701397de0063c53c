"""Builds an engine from a checkpoint directory."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from penstock_worker.constraints.mask_process import MaskModel
from penstock_worker.constraints.masks import ConstraintMasks
from penstock_worker.engine.adapter_table import AdapterTable
from penstock_worker.engine.block_pool import BlockPool
from penstock_worker.engine.build_drafter import build_drafter, read_draft_config
from penstock_worker.engine.build_runner import build_runner, plan_cache
from penstock_worker.engine.constraint import ConstraintGate
from penstock_worker.engine.draft_pace import DraftPace
from penstock_worker.engine.engine import Engine
from penstock_worker.engine.engine_config import OFF, PROMPT_LOOKUP, EngineConfig
from penstock_worker.engine.fixed_attention import FixedAttention
from penstock_worker.engine.fixed_pace import FixedPace
from penstock_worker.engine.load_model import load_foreign, load_own
from penstock_worker.engine.loaded_model import LoadedModel
from penstock_worker.engine.memory import KvPlan, shown_bytes
from penstock_worker.engine.prefix_index import PrefixIndex
from penstock_worker.engine.sampler import Sampler
from penstock_worker.engine.scheduler import Scheduler
from penstock_worker.engine.speculation import Speculation
from penstock_worker.engine.team import Solo, Team
from penstock_worker.engine.validation import EngineLimits
from penstock_worker.models.decoder_config import DecoderConfig
from penstock_worker.models.generation import read_eos_token_ids, read_sampling_defaults
from penstock_worker.models.loader import Checkpoint
from penstock_worker.models.model_shape import RunnableModel
from penstock_worker.models.onednn_linear import has_onednn
from penstock_worker.models.placement import choose_device
from penstock_worker.models.registry import read_any_config
from penstock_worker.models.revision import weights_revision
from penstock_worker.models.split_check import check_split


def build_engine(
    model_dir: Path,
    config: EngineConfig,
    team: Team | None = None,
    tell_share: Callable[[float], None] = lambda _: None,
) -> tuple[Engine, LoadedModel]:
    """Loads the checkpoint in `model_dir` and sizes the KV cache.

    Args:
        model_dir: of the checkpoint.
        config: what the operator set.
        team: the processes that hold the model together; None: this one alone.
        tell_share: gets the share of the weights that has been read, from 0 to 1.

    Raises:
        InvalidArgumentError: the checkpoint or a setting is not supported; says what is.
    """
    team = team or Solo()
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    architecture, model_config = read_any_config(model_dir)
    check_split(model_config, tensor_parallel=team.shard.tp_size, pipeline_parallel=team.shard.num_stages)
    eos_token_ids = read_eos_token_ids(model_dir, model_config.vocab_size)
    sampling_defaults = read_sampling_defaults(model_dir)
    checkpoint = Checkpoint(model_dir)
    if isinstance(model_config, DecoderConfig):
        model = _load_part(checkpoint, model_config, config, team, tell_share)
    else:
        model = load_foreign(model_dir, checkpoint, architecture, model_config, config)
    draft = _load_draft(model_dir, model, config)
    kv_plan = plan_cache(model, config, team.shard, draft, num_sharing=team.num_sharing_memory())
    agreed = team.agree(kv_plan.num_blocks, model.num_bytes)
    kv_plan = kv_plan.limited(agreed.num_blocks)
    revision = weights_revision(model_dir, checkpoint.files)
    scheduler = _scheduler(kv_plan, config)
    engine = Engine(
        scheduler=scheduler,
        runner=team.runner(build_runner(model, kv_plan.num_blocks, config)),
        sampler=Sampler(),
        limits=_limits(kv_plan, config),
        vocab_size=model_config.vocab_size,
        eos_token_ids=frozenset(eos_token_ids),
        revision=revision,
        adapters=AdapterTable(team.adapters(model.adapters)),
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
        weight_bytes=agreed.weight_bytes,
        shard=team.shard,
        kv_plan=kv_plan,
        drafts=config.speculate if draft is None else f"{config.speculate}, {shown_bytes(draft.num_bytes)}",
        is_deterministic=config.deterministic,
    )
    return engine, loaded


def _load_part(
    checkpoint: Checkpoint,
    model_config: DecoderConfig,
    config: EngineConfig,
    team: Team,
    tell_share: Callable[[float], None],
) -> RunnableModel:
    """This process' part of a model on our own decoder, with its place among the others."""
    group = team.connect(choose_device(config.device))
    num_sharing = team.num_sharing_memory()
    part = load_own(checkpoint, model_config, config, team.shard, group, tell_share=tell_share, num_sharing=num_sharing)
    return team.staged(part)


def _load_draft(model_dir: Path, model: RunnableModel, config: EngineConfig) -> RunnableModel | None:
    """The smaller checkpoint that drafts, where there is one: on the target's device, in its dtype."""
    if config.speculate in (OFF, PROMPT_LOOKUP):
        return None
    directory = Path(config.speculate)
    draft_config = read_draft_config(directory, model_dir, model.shape.vocab_size)
    like_target = replace(config, dtype=str(model.dtype).removeprefix("torch."), deterministic=False)
    return load_own(Checkpoint(directory), draft_config, like_target)


def _speculation(
    draft: RunnableModel | None, scheduler: Scheduler, kv_plan: KvPlan, config: EngineConfig
) -> Speculation | None:
    drafter = None if config.speculate == OFF else build_drafter(draft, kv_plan)
    if drafter is None:
        return None
    pace = DraftPace() if config.draft_tokens is None else FixedPace(config.draft_tokens)
    return Speculation(drafter, scheduler, pace, max_step_tokens=config.max_step_tokens)


def _scheduler(kv_plan: KvPlan, config: EngineConfig) -> Scheduler:
    return Scheduler(
        BlockPool(kv_plan.num_blocks, kv_plan.block_size, PrefixIndex() if config.prefix_cache else None),
        max_running_sequences=config.max_running_sequences,
        max_step_tokens=config.max_step_tokens,
    )


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
