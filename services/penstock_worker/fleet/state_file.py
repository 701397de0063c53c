"""What the fleet must know again after a restart: what is wanted, and which replicas it has started. In one file."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from penstock_shared.directory import ModelSpec
from penstock_shared.logs import get_logger
from penstock_worker.fleet.spec import FleetSpec, ReplicaShape


class KnownReplica(BaseModel):
    """A replica that was started, and what it was started as.

    Attributes:
        revision: of the checkpoint in `shape.model_dir` when it was started.
        is_unwanted: an operator wants another one in its place.
        is_leaving: it is being drained.
        drain_limit_s: how long it may work on what it has when it goes; None: as long as any.
    """

    model_config = ConfigDict(frozen=True)

    replica_id: str
    model: str
    shape: ReplicaShape
    revision: str
    is_unwanted: bool = False
    is_leaving: bool = False
    drain_limit_s: float | None = None


class FleetState(BaseModel):
    """Everything.

    Attributes:
        settings_digest: of the settings that `spec` began with.
        revisions: of the checkpoints that replicas were started with.
    """

    model_config = ConfigDict(frozen=True)

    settings_digest: str = ""
    spec: FleetSpec = FleetSpec()
    replicas: tuple[KnownReplica, ...] = ()
    revisions: tuple[ModelSpec, ...] = ()


class StateFile:
    """A JSON file.

    Args:
        path: made where it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = get_logger("fleet").bind(path=str(path))

    @classmethod
    def within(cls, state_dir: Path) -> "StateFile":
        """That of a fleet."""
        return cls(state_dir / "fleet_state.json")

    def read(self) -> FleetState:
        """The state as last saved; an empty one where there is none that can be read."""
        try:
            return FleetState.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return FleetState()
        except (OSError, ValidationError) as error:
            self._log.warning("the fleet's state cannot be read: it begins anew", error=str(error))
            return FleetState()

    def write(self, state: FleetState) -> None:
        """Replaces the file as a whole: a reader, or a crash, never sees half of it."""
        fresh = self._path.with_suffix(".new")
        try:
            fresh.write_text(state.model_dump_json(indent=1))
            fresh.replace(self._path)
        except OSError as error:
            self._log.warning("the fleet's state cannot be saved", error=str(error))
