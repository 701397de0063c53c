"""The file that says what is wanted of a fleet."""

from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format

from penstock.cli.errors import CommandError
from penstock.fleet.v1 import fleet_pb2


def read_fleet_file(path: Path) -> fleet_pb2.FleetSpec:
    """What is wanted. JSON is YAML, too. Directories are the file's, unless they are absolute.

    Raises:
        CommandError: it cannot be read, or says what a fleet does not know; says what.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        raise CommandError(f"{path}: no YAML: {' '.join(str(error).split())}") from error
    models = content.get("models") if isinstance(content, dict) else None
    if not isinstance(models, list) or not all(isinstance(model, dict) for model in models):
        raise CommandError(f"{path}: got no list `models` of names and values; see `penstock fleet apply --help`")
    here = path.expanduser().absolute().parent
    given = content | {"models": [_with_absolute_paths(model, here) for model in models]}
    try:
        return json_format.ParseDict(given, fleet_pb2.FleetSpec())
    except json_format.ParseError as error:
        raise CommandError(f"{path}: {_in_the_files_words(error)}") from error


def _with_absolute_paths(model: dict[str, Any], here: Path) -> dict[str, Any]:
    changed = dict(model)
    if isinstance(model.get("model_dir"), str):
        changed["model_dir"] = _absolute(model["model_dir"], here)
    if isinstance(model.get("adapters"), dict):
        changed["adapters"] = {name: _absolute(str(each), here) for name, each in model["adapters"].items()}
    return changed


def _absolute(path: str, here: Path) -> str:
    return str(here / Path(path).expanduser())


def _in_the_files_words(error: json_format.ParseError) -> str:
    """Without the names of messages, which the file does not have."""
    return str(error).partition(" Available Fields")[0].replace("penstock.fleet.v1.", "").strip()
