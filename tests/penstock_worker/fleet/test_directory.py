"""The directory's version grows with every change, whoever follows sees the last state."""

from dataclasses import replace
from pathlib import Path

import pytest

from penstock_shared.directory import ModelSpec, ReplicaInfo, ReplicaState
from penstock_worker.fleet.directory import FleetDirectory, VersionFile

REPLICA = ReplicaInfo("tiny-0", "tiny", ReplicaState.LOADING, "", 1, "", "")


@pytest.fixture
def version_file(tmp_path: Path) -> VersionFile:
    """Of a fleet that never ran."""
    return VersionFile(tmp_path / "fleet.json", wall_clock=lambda: 0.0)


def test_every_change_is_a_new_version(version_file: VersionFile, spec: ModelSpec) -> None:
    """Gateways drop what is not newer than what they have."""
    directory = FleetDirectory(version_file)
    directory.put_models([spec])
    directory.put_replica(REPLICA)
    assert directory.current.version == 2
    assert directory.current.models == (spec,)
    assert directory.current.replicas == (REPLICA,)


def test_no_change_is_no_version(version_file: VersionFile, spec: ModelSpec) -> None:
    """Watchers are not woken for nothing."""
    directory = FleetDirectory(version_file)
    directory.put_replica(REPLICA)
    directory.put_replica(replace(REPLICA))
    directory.put_models([spec], asleep=["tiny"])
    directory.put_models([spec], asleep=["tiny"])
    assert directory.current.version == 2


def test_replica_that_is_gone_is_told_of_no_more(version_file: VersionFile) -> None:
    """Gateways would try to reach it."""
    directory = FleetDirectory(version_file)
    directory.put_replica(REPLICA)
    directory.drop_replica(REPLICA.replica_id)
    directory.drop_replica("unknown")
    assert (directory.current.replicas, directory.current.version) == ((), 2)


def test_versions_grow_across_restarts_of_the_fleet(version_file: VersionFile) -> None:
    """Otherwise gateways would ignore the new fleet until it has caught up."""
    first = FleetDirectory(version_file)
    first.put_replica(REPLICA)
    first.put_replica(replace(REPLICA, state=ReplicaState.READY))
    second = FleetDirectory(version_file)
    second.put_replica(REPLICA)
    assert second.current.version == 3


async def test_a_follower_gets_the_directory_at_once_and_every_change_it_has_time_for(
    version_file: VersionFile,
) -> None:
    """Whoever connects misses nothing; a slow one skips versions but never ends on an old one."""
    directory = FleetDirectory(version_file)
    follower = directory.follow()
    assert (await anext(follower)).version == 0
    directory.put_replica(REPLICA)
    directory.put_replica(replace(REPLICA, state=ReplicaState.READY))
    latest = await anext(follower)
    assert (latest.version, latest.replicas[0].state) == (2, ReplicaState.READY)


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"version": "x"}'])
def test_versions_grow_although_the_file_is_lost(tmp_path: Path, content: str | None) -> None:
    """Somebody tidies up, or the disk was full: gateways must not ignore the new fleet."""
    path = tmp_path / "fleet.json"
    FleetDirectory(VersionFile(path, wall_clock=lambda: 1_000.0)).put_replica(REPLICA)
    assert path.read_text() == '{"version": 1001}'
    path.unlink()
    if content is not None:
        path.write_text(content)
    second = FleetDirectory(VersionFile(path, wall_clock=lambda: 1_002.0))
    second.put_replica(REPLICA)
    assert second.current.version == 1003


def test_a_version_that_cannot_be_saved_is_published_all_the_same() -> None:
    """A full disk must not hide from the gateways that a replica has died."""
    directory = FleetDirectory(VersionFile(Path("/proc/fleet.json"), wall_clock=lambda: 5.0))
    directory.put_replica(REPLICA)
    assert directory.current.replicas == (REPLICA,)
    assert directory.current.version == 6
