"""What the fleet states about a checkpoint before any replica has loaded it; reads no weights."""

from pathlib import Path

from penstock_shared.directory import ModelSpec
from penstock_shared.fingerprint import template_fingerprint, tokenizer_fingerprint
from penstock_worker.models.generation import read_eos_token_ids, read_sampling_defaults
from penstock_worker.models.registry import read_any_config
from penstock_worker.models.revision import weights_revision
from penstock_worker.models.weight_files import weight_files


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
