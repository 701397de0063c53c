"""What a checkpoint says about generating: its sampling defaults and the tokens that end an output."""

from pathlib import Path
from typing import Any

from penstock_shared.directory import SamplingDefaults
from penstock_shared.errors import InvalidArgumentError
from penstock_worker.models.config_file import ConfigFile, read_json_object

_FILE = "generation_config.json"


def read_sampling_defaults(model_dir: Path) -> SamplingDefaults:
    """The defaults of generation_config.json; neutral ones where it, or a field of it, is missing.

    Raises:
        InvalidArgumentError: a field is wrong.
    """
    file = _generation_config(model_dir)
    is_greedy = not file.flag("do_sample", default=True)
    return SamplingDefaults(
        temperature=0.0 if is_greedy else file.number("temperature", 1.0),
        top_p=file.positive_number("top_p", 1.0),
        top_k=file.count("top_k", 0),
        min_p=file.number("min_p", 0.0),
        repetition_penalty=file.positive_number("repetition_penalty", 1.0),
        max_tokens=file.positive_integer("max_new_tokens") if file.has("max_new_tokens") else None,
    )


def read_eos_token_ids(model_dir: Path, vocab_size: int) -> tuple[int, ...]:
    """The end-of-sequence tokens: those of generation_config.json, or where it names none, of config.json.

    Raises:
        InvalidArgumentError: they are no token ids below `vocab_size`.
    """
    fields = read_json_object(model_dir / "config.json")
    if (model_dir / _FILE).is_file():
        fields |= {name: value for name, value in read_json_object(model_dir / _FILE).items() if value is not None}
    value: Any = fields.get("eos_token_id")
    if value is None:
        return ()
    token_ids = value if isinstance(value, list) else [value]
    if not all(isinstance(token_id, int) and 0 <= token_id < vocab_size for token_id in token_ids):
        raise InvalidArgumentError("eos_token_id", value, f"token ids from 0 to {vocab_size - 1}")
    return tuple(sorted(set(token_ids)))


def _generation_config(model_dir: Path) -> ConfigFile:
    path = model_dir / _FILE
    return ConfigFile(read_json_object(path) if path.is_file() else {}, _FILE)
