"""Loading an adapter beside what runs: whatever goes wrong, the fleet hears what it can act on."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penstock_shared.directory import AdapterSpec
from penstock_worker.engine.adapter_table import AdapterTable
from penstock_worker.replica.actor import ReplicaActor
from penstock_worker.replica.registration import LoadFailure, NotLoadedError
from penstock_worker.settings import WorkerSettings

LAW = AdapterSpec("law", "revision-1")


class FullLoader:
    """No adapter fits."""

    def load(self, adapter_id: int, adapter_dir: Path, revision: str) -> None:
        """As torch says it."""
        raise RuntimeError("CUDA out of memory")

    def drop(self, adapter_id: int) -> None:
        """There is none."""


@pytest.fixture
def actor(tmp_path: Path) -> ReplicaActor:
    """One that has loaded nothing."""
    return ReplicaActor(WorkerSettings(model_dir=tmp_path, model_name="tiny", state_dir=tmp_path), "tiny-0")


async def test_adapter_that_does_not_fit_is_a_failure_with_its_reason(actor: ReplicaActor) -> None:
    """The replica serves on without it, and the operator hears why. There may be room for it later."""
    engine: Any = SimpleNamespace(adapters=AdapterTable(FullLoader()))
    actor._engine = engine
    expected = "loading adapter law failed: RuntimeError('CUDA out of memory')"
    assert await actor.load_adapter(LAW, Path("law")) == LoadFailure(expected, is_passing=True)


async def test_adapter_that_is_refused_is_so_for_good(actor: ReplicaActor) -> None:
    """No attempt will find another answer, so the fleet withdraws it."""
    engine: Any = SimpleNamespace(adapters=AdapterTable())
    actor._engine = engine
    failure = await actor.load_adapter(LAW, Path("law"))
    assert failure is not None
    assert (failure.is_passing, "takes no adapters" in failure.message) == (False, True)


async def test_process_that_was_just_started_says_so(actor: ReplicaActor) -> None:
    """Ray starts a process in place of a dead one between two calls: the fleet must have it load the model first."""
    with pytest.raises(NotLoadedError):
        await actor.load_adapter(LAW, Path("law"))
    await actor.unload_adapter("law")
