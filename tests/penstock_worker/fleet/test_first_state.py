"""What a fleet starts with: the settings, or what was wanted since they were last used."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.adapters import save_adapter
from fakes.checkpoints import save_checkpoint
from fakes.scripted_replicas import write_checkpoint

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.fleet.first_state import prepare_state
from penstock_worker.fleet.spec import FleetSpec, changed_model
from penstock_worker.fleet.state_file import FleetState, KnownReplica, StateFile
from penstock_worker.settings import WorkerSettings

Start = Callable[..., FleetState]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """The state after a start with these settings."""

    def prepared(**settings: Any) -> FleetState:
        defaults = {"model_dir": write_checkpoint(tmp_path / "a"), "model_name": "tiny", "replicas": 2}
        prepare_state(WorkerSettings(state_dir=tmp_path, **(defaults | settings)))
        return StateFile.within(tmp_path).read()

    return prepared


def want(tmp_path: Path, **changes: Any) -> None:
    """An operator changes the one model."""
    file = StateFile.within(tmp_path)
    state = file.read()
    (model,) = state.spec.models
    spec = FleetSpec(models=(changed_model(model, **changes),))
    known = KnownReplica(replica_id="tiny-0", model="tiny", shape=model.shape, revision="r")
    file.write(state.model_copy(update={"spec": spec, "replicas": (known,)}))


def test_settings_are_the_first_state(start: Start, tmp_path: Path) -> None:
    """One model, as ever."""
    (model,) = start(quantize="int8", threads_per_replica=3, tensor_parallel=2, pipeline_parallel=3).spec.models
    assert (model.name, model.model_dir, model.replicas) == ("tiny", tmp_path / "a", 2)
    assert (model.quantize, model.threads, model.max_replicas) == ("int8", 3, 1024)
    assert (model.tensor_parallel, model.pipeline_parallel) == (2, 3)


def test_what_was_wanted_since_outlives_a_restart(start: Start, tmp_path: Path) -> None:
    """A worker that died and is started again by its supervisor has the settings of the first start still."""
    start()
    want(tmp_path, replicas=5)
    state = start()
    assert state.spec.models[0].replicas == 5
    assert state.replicas == ()  # they died with the private Ray


def test_other_settings_begin_anew(start: Start, tmp_path: Path) -> None:
    """Whoever says `--replicas 3` now does not want the 5 of last week."""
    start()
    want(tmp_path, replicas=5)
    assert start(replicas=3).spec.models[0].replicas == 3
    assert start(model_name="other").spec.models[0].name == "other"


def test_model_that_was_scaled_to_nothing_is_served_after_a_start(start: Start, tmp_path: Path) -> None:
    """Or `penstock up` would wait for a replica that nobody wants. One that sleeps is woken by its first request."""
    start()
    want(tmp_path, replicas=0)
    assert start().spec.models[0].replicas == 2
    want(tmp_path, replicas=0, autoscale={}, min_replicas=0)
    assert start().spec.models[0].replicas == 0


def test_replicas_on_a_cluster_are_looked_for_again(start: Start, tmp_path: Path, monkeypatch: Any) -> None:
    """They outlive the process that started them."""
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    start()
    want(tmp_path, replicas=5)
    assert [replica.replica_id for replica in start().replicas] == ["tiny-0"]


def test_state_that_cannot_be_read_is_none(start: Start, tmp_path: Path) -> None:
    """A disk was full, or a newer version wrote it: the settings still say what to serve."""
    (tmp_path / "fleet_state.json").write_text('{"spec": {"models": [{}]}}')
    assert start().spec.models[0].replicas == 2


def test_checkpoint_that_is_not_there_ends_the_start(start: Start, tmp_path: Path) -> None:
    """In one line, before Ray is started; also where it went after the last start."""
    with pytest.raises(InvalidArgumentError, match=r"nowhere/config\.json"):
        start(model_dir=tmp_path / "nowhere")
    start()
    (tmp_path / "b").mkdir()
    want(tmp_path, model_dir=tmp_path / "b")
    with pytest.raises(InvalidArgumentError, match=r"b/config\.json"):
        start()


def test_adapters_of_the_settings_are_wanted_beside_those_of_before(start: Start, tmp_path: Path) -> None:
    """What lies in the directory, what is named, and what was loaded by hand in an earlier run and is still there."""
    model_dir = save_checkpoint("llama", tmp_path / "llama")
    adapter_dir = save_adapter(model_dir, tmp_path / "law")
    folder = tmp_path / "folder"
    found = save_adapter(model_dir, folder / "found")
    start(model_dir=model_dir)
    want(tmp_path, adapters={"before": adapter_dir, "gone": tmp_path / "gone"})
    state = start(model_dir=model_dir, adapters_dir=folder, adapters={"law": adapter_dir})
    assert state.spec.models[0].adapters == {"before": adapter_dir, "found": found, "law": adapter_dir}
    again = start(model_dir=model_dir, replicas=1)
    assert again.spec.models[0].adapters == state.spec.models[0].adapters


def test_setting_that_names_no_adapter_ends_the_start(start: Start, tmp_path: Path) -> None:
    """An operator's typing error is told at once, before any replica has read its weights."""
    with pytest.raises(InvalidArgumentError, match=r"nowhere/adapter_config\.json"):
        start(adapters={"law": tmp_path / "nowhere"})
