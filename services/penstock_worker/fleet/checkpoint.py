"""What the fleet states about a checkpoint and its adapters before any replica has loaded them; reads no weights."""

import re
from pathlib import Path

from penstock_shared.directory import AdapterSpec, ModelSpec
from penstock_shared.errors import InvalidArgumentError
from penstock_shared.fingerprint import template_fingerprint, tokenizer_fingerprint
from penstock_worker.models.adapter_file import open_adapter
from penstock_worker.models.generation import read_eos_token_ids, read_sampling_defaults
from penstock_worker.models.registry import read_any_config, read_model_config
from penstock_worker.models.revision import weights_revision
from penstock_worker.models.weight_files import weight_files

_ADAPTER_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")


def inspect_checkpoint(model_dir: Path, name: str) -> ModelSpec:
    """The specification of the checkpoint in `model_dir`, served as `name`.

    Raises:
        InvalidArgumentError: files are missing or wrong, or the architecture is not supported.
    """
    _, config = read_any_config(model_dir)
    return ModelSpec(
        name=name,
        revision=weights_revision(model_dir, weight_files(model_dir)),
        tokenizer_fingerprint=tokenizer_fingerprint(model_dir),
        template_fingerprint=template_fingerprint(model_dir),
        context_length=config.context_length,
        eos_token_ids=read_eos_token_ids(model_dir, config.vocab_size),
        sampling_defaults=read_sampling_defaults(model_dir),
        vocab_size=config.vocab_size,
        tokenizer_path=str(model_dir),
    )


def inspect_adapter(adapter_dir: Path, name: str, model_dir: Path) -> AdapterSpec:
    """The specification of the adapter in `adapter_dir` for the checkpoint in `model_dir`.

    Raises:
        InvalidArgumentError: it can have no such name, or is no adapter for this model.
    """
    if _ADAPTER_NAME.fullmatch(name) is None:
        raise InvalidArgumentError("name", name, "1 to 128 letters, digits, '.', '_', '-'")
    _, config = read_model_config(model_dir)
    return AdapterSpec(name, open_adapter(adapter_dir, config).revision)
