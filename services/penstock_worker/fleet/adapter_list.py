"""The adapters that are wanted, on disk: what was loaded or unloaded stays so across restarts."""

import json
from collections.abc import Mapping
from pathlib import Path

from penstock_shared.errors import PenstockError
from penstock_shared.logs import get_logger
from penstock_worker.fleet.checkpoint import inspect_adapter
from penstock_worker.settings import WorkerSettings


class AdapterList:
    """A JSON file of names and directories.

    Args:
        path: made where it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = get_logger("fleet").bind(path=str(path))

    @classmethod
    def of(cls, settings: WorkerSettings) -> "AdapterList":
        """That of a fleet."""
        return cls(settings.state_dir / "adapters.json")

    def read(self) -> dict[str, Path]:
        """The directories by name."""
        try:
            found = json.loads(self._path.read_text())
            return {str(name): Path(path) for name, path in found.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            self._log.warning("the list of adapters cannot be read", error=str(error))
            return {}

    def write(self, adapters: Mapping[str, Path]) -> None:
        """Replaces the file as a whole: a reader, or a crash, never sees half of it."""
        fresh = self._path.with_suffix(".new")
        try:
            fresh.write_text(json.dumps({name: str(path) for name, path in adapters.items()}))
            fresh.replace(self._path)
        except OSError as error:
            self._log.warning("the list of adapters cannot be saved", error=str(error))


def want_adapters(settings: WorkerSettings) -> None:
    """Adds those of the settings to the list, before the fleet starts.

    Raises:
        InvalidArgumentError: one of them is no adapter for the model.
    """
    wanted = AdapterList.of(settings)
    asked = _asked(settings)
    for name, path in asked.items():
        inspect_adapter(path, name, settings.model_dir)
    stored = {
        name: path for name, path in wanted.read().items() if name not in asked and _is_usable(name, path, settings)
    }
    if stored or asked:
        wanted.write(stored | asked)


def _asked(settings: WorkerSettings) -> dict[str, Path]:
    found = {}
    if settings.adapters_dir is not None:
        configs = sorted(settings.adapters_dir.glob("*/adapter_config.json"))
        found = {path.parent.name: path.parent.absolute() for path in configs}
    return found | {name: path.absolute() for name, path in settings.adapters.items()}


def _is_usable(name: str, path: Path, settings: WorkerSettings) -> bool:
    try:
        inspect_adapter(path, name, settings.model_dir)
    except PenstockError as error:
        get_logger("fleet").warning("an adapter is left out", adapter=name, reason=str(error))
        return False
    return True
