"""Which files hold a checkpoint's weights. Needs no torch: the fleet asks before any replica runs."""

from pathlib import Path

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.models.config_file import ConfigFile, read_json_object

_SINGLE_FILE = "model.safetensors"
_INDEX_FILE = "model.safetensors.index.json"
_PICKLED_SUFFIXES = {".bin", ".pt", ".pth", ".ckpt"}
_MAX_NAMED = 5


def weight_files(model_dir: Path) -> tuple[Path, ...]:
    """The safetensors files of the checkpoint in `model_dir`, ordered by name; they need not exist.

    Raises:
        InvalidArgumentError: there is neither a single file nor an index, or the index names something else.
    """
    if (model_dir / _INDEX_FILE).is_file():
        return tuple(model_dir / name for name in _indexed_file_names(model_dir / _INDEX_FILE))
    if (model_dir / _SINGLE_FILE).is_file():
        return (model_dir / _SINGLE_FILE,)
    found = sorted(path.name for path in model_dir.glob("*") if path.suffix in _PICKLED_SUFFIXES)
    allowed = f"a directory with {_SINGLE_FILE} or {_INDEX_FILE}"
    raise InvalidArgumentError(f"model directory {model_dir}", first_names(found) or "neither of them", allowed)


def check_one_set_of_weights(model_dir: Path) -> None:
    """Refuses a directory with a single file and an index too: two loaders may take different ones of them.

    Raises:
        InvalidArgumentError: there are both.
    """
    if (model_dir / _INDEX_FILE).is_file() and (model_dir / _SINGLE_FILE).is_file():
        raise InvalidArgumentError(f"model directory {model_dir}", f"{_SINGLE_FILE} and {_INDEX_FILE}", "one of them")


def _indexed_file_names(index: Path) -> list[str]:
    names = ConfigFile(read_json_object(index), index.name).string_values("weight_map")
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise InvalidArgumentError(index.name, name, "names of .safetensors files beside it")
    return sorted(names)


def first_names(names: list[str]) -> str:
    """The first of `names` for an error message, and how many more there are."""
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + more
