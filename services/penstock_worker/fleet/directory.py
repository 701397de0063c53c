"""The directory that the fleet keeps: all models and replicas, one version a change."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from pathlib import Path

from penstock_shared.directory import Directory, ModelSpec, OtherRevision, ReplicaInfo
from penstock_shared.logs import get_logger


class VersionFile:
    """Remembers the last version, so that versions grow across restarts of the fleet.

    Without the file, or where it could not be written, they go on from the time of day, which is always ahead of them:
    a fleet makes fewer versions than seconds pass.

    Args:
        path: a JSON file; made where it is missing.
        wall_clock: seconds since the epoch.
    """

    def __init__(self, path: Path, *, wall_clock: Callable[[], float]) -> None:
        self._path = path
        self._wall_clock = wall_clock
        self._log = get_logger("fleet").bind(path=str(path))

    def read(self) -> int:
        """A version that no fleet before this one has reached."""
        now_s = int(self._wall_clock())
        try:
            return max(int(json.loads(self._path.read_text())["version"]), now_s)
        except FileNotFoundError:
            return now_s
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._log.warning("the directory's last version cannot be read", error=str(error))
            return now_s

    def write(self, version: int) -> None:
        """Replaces the file as a whole: a reader, or a crash, never sees half of it."""
        fresh = self._path.with_suffix(".new")
        try:
            fresh.write_text(json.dumps({"version": version}))
            fresh.replace(self._path)
        except OSError as error:
            self._log.warning("the directory's version cannot be saved", error=str(error))


class FleetDirectory:
    """The current directory and those who follow it. Belongs to one event loop."""

    def __init__(self, version_file: VersionFile) -> None:
        self._version_file = version_file
        self._replicas: dict[str, ReplicaInfo] = {}
        self._changed = asyncio.Event()
        self.current = Directory(version=version_file.read())

    def put_models(
        self, models: Iterable[ModelSpec], others: Iterable[OtherRevision] = (), asleep: Iterable[str] = ()
    ) -> None:
        """States all models, where that is news."""
        stated = replace(self.current, models=tuple(models), other_revisions=tuple(others), asleep=tuple(asleep))
        if stated != self.current:
            self.current = stated
            self._publish()

    def put_replica(self, replica: ReplicaInfo) -> None:
        """States a replica, where that is news."""
        if self._replicas.get(replica.replica_id) != replica:
            self._replicas[replica.replica_id] = replica
            self._publish()

    def drop_replica(self, replica_id: str) -> None:
        """A replica is gone for good."""
        if self._replicas.pop(replica_id, None) is not None:
            self._publish()

    async def follow(self) -> AsyncIterator[Directory]:
        """The directory now, and again after changes. A slow reader skips versions, never the last one."""
        while True:
            changed = self._changed
            yield self.current
            await changed.wait()

    def _publish(self) -> None:
        version = self.current.version + 1
        self._version_file.write(version)
        self.current = replace(self.current, version=version, replicas=tuple(self._replicas.values()))
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
