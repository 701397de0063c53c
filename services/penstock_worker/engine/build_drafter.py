"""Builds what drafts tokens: a look back, or a smaller checkpoint."""

from pathlib import Path

import torch

from penstock_shared.errors import InvalidArgumentError
from penstock_shared.fingerprint import tokenizer_fingerprint
from penstock_worker.engine.draft_model import DraftModel
from penstock_worker.engine.drafter import Drafter
from penstock_worker.engine.engine_config import OFF, PROMPT_LOOKUP
from penstock_worker.engine.kv_cache import KvCache
from penstock_worker.engine.memory import KvPlan
from penstock_worker.engine.model_runner import ModelRunner
from penstock_worker.engine.prompt_lookup import PromptLookup
from penstock_worker.engine.sampler import Sampler
from penstock_worker.models.decoder_config import DecoderConfig
from penstock_worker.models.model_shape import RunnableModel
from penstock_worker.models.registry import read_model_config


def read_draft_config(directory: Path, model_dir: Path, vocab_size: int) -> DecoderConfig:
    """The configuration of the checkpoint that is to draft for the one in `model_dir`.

    Raises:
        InvalidArgumentError: it is no checkpoint, or of another tokenizer or vocabulary than the target.
    """
    if not (directory / "config.json").is_file():
        allowed = f'"{OFF}", "{PROMPT_LOOKUP}" or the directory of a checkpoint'
        raise InvalidArgumentError("speculate", str(directory), allowed)
    _, config = read_model_config(directory)
    if config.vocab_size != vocab_size:
        found = f"{directory} with {config.vocab_size} vocabulary entries"
        raise InvalidArgumentError("speculate", found, f"a checkpoint with the model's {vocab_size} entries")
    if tokenizer_fingerprint(directory) != tokenizer_fingerprint(model_dir):
        raise InvalidArgumentError("speculate", str(directory), "a checkpoint with the model's own tokenizer files")
    return config


def build_drafter(draft: RunnableModel | None, kv_plan: KvPlan) -> Drafter:
    """Who drafts: the smaller model where there is one, else a look back.

    Args:
        draft: the smaller model.
        kv_plan: of the target's cache, and of the draft model's.
    """
    if draft is None:
        return PromptLookup()
    shape = draft.shape
    size = (shape.num_layers, kv_plan.num_blocks + 1, kv_plan.block_size, 2 * shape.num_kv_heads, shape.head_dim)
    cache = KvCache(torch.zeros(size, dtype=draft.dtype, device=draft.device))
    return DraftModel(
        ModelRunner(draft.model, cache, draft.attention),
        block_size=kv_plan.block_size,
        context_length=shape.context_length,
        sampler=Sampler(),
    )
