"""An adapter is on all replicas or on none, comes back with a replica, and gateways know of it no sooner than that."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from shutil import copytree

import pytest
from fakes.adapters import save_adapter
from fakes.checkpoints import save_checkpoint
from fakes.scripted_replica import ScriptedReplica

from penstock_shared.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from penstock_worker.fleet.adapters import FleetAdapters
from penstock_worker.fleet.supervisor import NotPreparedError
from penstock_worker.replica.registration import LoadFailure


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Llama."""
    return save_checkpoint("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def adapter_dir(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of it."""
    return save_adapter(model_dir, tmp_path_factory.mktemp("adapters") / "law")


class Fleet:
    """The adapters of two serving replicas; `kept` outlives it."""

    def __init__(self, model_dir: Path, kept: dict[str, Path], limit_s: float = 60.0) -> None:
        self.replicas = [ScriptedReplica(), ScriptedReplica()]
        self.published: list[list[str]] = []
        self._kept = kept
        self.adapters = FleetAdapters(
            model_dir=model_dir,
            wanted=dict(kept),
            keep=self._keep,
            serving=lambda: self.replicas,
            publish=self._publish,
            limit_s=limit_s,
        )

    def kept(self) -> list[str]:
        """Names that a fleet which starts would want."""
        return list(self._kept)

    @property
    def loaded(self) -> list[list[str]]:
        """Names of what each replica has."""
        return [list(replica.adapters) for replica in self.replicas]

    def _keep(self, adapters: Mapping[str, Path]) -> None:
        self._kept.clear()
        self._kept.update(adapters)

    def _publish(self) -> None:
        self.published.append([adapter.name for adapter in self.adapters.specs])


@pytest.fixture
async def make_fleet(model_dir: Path) -> Callable[[], Fleet]:
    """Fleets one after another, that want the same."""
    kept: dict[str, Path] = {}
    return lambda: Fleet(model_dir, kept)


async def test_adapter_is_published_when_every_replica_has_it(
    make_fleet: Callable[[], Fleet], adapter_dir: Path
) -> None:
    """A gateway may then send it to any of them."""
    fleet = make_fleet()
    await fleet.adapters.load("law", adapter_dir)
    await fleet.adapters.load("law", adapter_dir)
    assert fleet.loaded == [["law"], ["law"]]
    assert fleet.published == [["law"]]
    await fleet.adapters.unload("law")
    assert (fleet.loaded, fleet.published) == ([[], []], [["law"], []])
    with pytest.raises(NotFoundError, match="no adapter 'law'"):
        await fleet.adapters.unload("law")


async def test_adapter_that_one_replica_cannot_load_is_on_none(
    make_fleet: Callable[[], Fleet], adapter_dir: Path
) -> None:
    """Half a fleet that knows a name would answer by chance."""
    fleet = make_fleet()
    fleet.replicas[1].refusals = {"law": "no memory"}
    with pytest.raises(FailedPreconditionError, match="no memory"):
        await fleet.adapters.load("law", adapter_dir)
    assert (fleet.loaded, fleet.published) == ([[], []], [])


async def test_adapter_is_on_no_replica_after_an_error_that_nobody_expected(
    make_fleet: Callable[[], Fleet], adapter_dir: Path
) -> None:
    """What has no name in the directory must not take memory, nor stand in the way of the next attempt."""
    fleet = make_fleet()
    fleet.replicas[1].refusals = {"law": RuntimeError("out of memory")}
    with pytest.raises(RuntimeError, match="out of memory"):
        await fleet.adapters.load("law", adapter_dir)
    assert (fleet.loaded, fleet.published) == ([[], []], [])


async def test_adapter_is_on_no_replica_after_its_caller_went_away(
    make_fleet: Callable[[], Fleet], adapter_dir: Path
) -> None:
    """Replicas go on loading when nobody waits for them any more: what they load then is unloaded, too."""
    fleet = make_fleet()
    fleet.replicas[1].may_load_adapters.clear()
    call = asyncio.create_task(fleet.adapters.load("law", adapter_dir))
    await fleet.replicas[1].is_loading_adapter.wait()
    assert fleet.loaded == [["law"], []]
    call.cancel()
    await asyncio.sleep(0)
    fleet.replicas[1].may_load_adapters.set()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (fleet.loaded, fleet.published) == ([[], []], [])


async def test_replica_that_starts_gets_all_adapters_before_it_serves(
    make_fleet: Callable[[], Fleet], adapter_dir: Path
) -> None:
    """The wanted state survives the death of a replica, and of the fleet."""
    await make_fleet().adapters.load("law", adapter_dir)
    restarted = make_fleet()
    await restarted.adapters.restore()
    assert restarted.published == [["law"]]
    await restarted.adapters.bring(restarted.replicas[0])
    assert restarted.loaded == [["law"], []]


async def test_adapter_that_a_starting_replica_cannot_load_is_withdrawn(
    make_fleet: Callable[[], Fleet], adapter_dir: Path
) -> None:
    """Its directory is gone, say: those who name it hear so, everybody else is served."""
    fleet = make_fleet()
    await fleet.adapters.load("law", adapter_dir)
    started = ScriptedReplica()
    started.refusals = {"law": "no such file"}
    await fleet.adapters.bring(started)
    assert (fleet.loaded, fleet.published[-1]) == ([[], []], [])


async def test_adapter_that_a_starting_replica_cannot_load_now_stays_wanted(
    make_fleet: Callable[[], Fleet], adapter_dir: Path
) -> None:
    """A lack of memory passes: the others serve on with it, and the one that starts tries again before it serves."""
    fleet = make_fleet()
    await fleet.adapters.load("law", adapter_dir)
    started = ScriptedReplica()
    started.refusals = {"law": LoadFailure("no memory", is_passing=True)}
    with pytest.raises(NotPreparedError, match="adapter law: no memory"):
        await fleet.adapters.bring(started)
    assert (fleet.loaded, fleet.published) == ([["law"], ["law"]], [["law"]])
    started.refusals = {}
    await fleet.adapters.bring(started)
    assert list(started.adapters) == ["law"]
    assert make_fleet().kept() == ["law"]


async def test_adapter_that_cannot_be_read_at_the_start_stays_on_the_list(
    make_fleet: Callable[[], Fleet], adapter_dir: Path, tmp_path: Path
) -> None:
    """A disk that fails for a moment takes nothing away for good; what is no adapter any more is forgotten."""
    fleet = make_fleet()
    for name in ("failing", "broken"):
        await fleet.adapters.load(name, copytree(adapter_dir, tmp_path / name))
        (tmp_path / name / "adapter_config.json").unlink()
    (tmp_path / "failing/adapter_config.json").symlink_to("/proc/self/mem")  # to read it is an input/output error
    restarted = make_fleet()
    await restarted.adapters.restore()
    await restarted.adapters.load("law", adapter_dir)
    assert restarted.published == [["law"]]
    assert restarted.kept() == ["failing", "law"]


async def test_replica_that_hangs_holds_up_nobody_for_ever(model_dir: Path, adapter_dir: Path) -> None:
    """Its load has a time limit, after which the next change to the adapters goes on."""
    fleet = Fleet(model_dir, {}, limit_s=0.2)
    fleet.replicas[1].may_load_adapters.clear()
    with pytest.raises(FailedPreconditionError, match=r"has not loaded it within 0\.2 s"):
        await fleet.adapters.load("law", adapter_dir)
    assert (fleet.loaded, fleet.published) == ([[], []], [])
    fleet.replicas[1].may_load_adapters.set()
    await fleet.adapters.load("law", adapter_dir)
    stalled = ScriptedReplica()
    stalled.may_load_adapters.clear()
    with pytest.raises(NotPreparedError, match="has not loaded it within"):
        await fleet.adapters.bring(stalled)
    await fleet.adapters.unload("law")
    assert fleet.loaded == [[], []]


async def test_what_is_no_adapter_of_the_model_reaches_no_replica(
    make_fleet: Callable[[], Fleet], adapter_dir: Path, tmp_path: Path
) -> None:
    """The one who loads it hears why."""
    fleet = make_fleet()
    for name, path in (("law", tmp_path), ("a/b", adapter_dir), ("law", Path("law"))):
        with pytest.raises(InvalidArgumentError):
            await fleet.adapters.load(name, path)
    assert fleet.loaded == [[], []]


async def test_other_adapter_of_a_taken_name_is_refused(
    make_fleet: Callable[[], Fleet], adapter_dir: Path, model_dir: Path, tmp_path: Path
) -> None:
    """What runs under the name must not change under it."""
    fleet = make_fleet()
    await fleet.adapters.load("law", adapter_dir)
    with pytest.raises(FailedPreconditionError, match="another adapter law is loaded"):
        await fleet.adapters.load("law", save_adapter(model_dir, tmp_path / "other", seed=5))


async def test_adapters_become_those_that_are_wanted(
    make_fleet: Callable[[], Fleet], adapter_dir: Path, tmp_path: Path
) -> None:
    """A file of what is wanted names them all: what it does not name is unloaded, what moved is loaded anew."""
    fleet = make_fleet()
    other = copytree(adapter_dir, tmp_path / "other")
    await fleet.adapters.change({"law": adapter_dir, "tax": adapter_dir})
    await fleet.adapters.change({"tax": other})
    assert fleet.loaded == [["tax"], ["tax"]]
    assert fleet.adapters.paths == {"tax": other}
