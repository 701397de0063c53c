"""The directory that the fleet keeps: all models and replicas, one version a change."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from penstock_shared.directory import Directory, ModelSpec, ReplicaInfo


class VersionFile:
    """Remembers the last version, so that versions grow across restarts of the fleet.

    Args:
        path: a JSON file; made where it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> int:
        """The last version written; 0 where there is none."""
        try:
            return int(json.loads(self._path.read_text())["version"])
        except FileNotFoundError:
            return 0

    def write(self, version: int) -> None:
        """Replaces the file as a whole: a reader, or a crash, never sees half of it."""
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps({"version": version}))
        fresh.replace(self._path)


class FleetDirectory:
    """The current directory and those who follow it. Belongs to one event loop."""

    def __init__(self, version_file: VersionFile) -> None:
        self._version_file = version_file
        self._models: dict[str, ModelSpec] = {}
        self._replicas: dict[str, ReplicaInfo] = {}
        self._changed = asyncio.Event()
        self.current = Directory(version=version_file.read())

    def put_model(self, spec: ModelSpec) -> None:
        """States a model."""
        self._models[spec.name] = spec
        self._publish()

    def put_replica(self, replica: ReplicaInfo) -> None:
        """States a replica, where that is news."""
        if self._replicas.get(replica.replica_id) != replica:
            self._replicas[replica.replica_id] = replica
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
        self.current = replace(
            self.current,
            version=version,
            models=tuple(self._models.values()),
            replicas=tuple(self._replicas.values()),
        )
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
