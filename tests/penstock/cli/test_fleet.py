"""`penstock fleet`: the file is read as it is meant, progress is told step by step, and errors say the way out."""

from pathlib import Path
from typing import Any

import pytest
from fakes.command_line import Cli

from penstock.cli.errors import CommandError
from penstock.cli.fleet_file import read_fleet_file
from penstock.cli.fleet_progress import Patience, wait_until_settled
from penstock.fleet.v1 import fleet_pb2

FILE = """
models:
  - name: pocket
    model_dir: checkpoints/pocket
    replicas: 2
    adapters: {law: /adapters/law}
  - name: qwen
    model_dir: /models/qwen
    quantize: int8
    min_replicas: 0
    autoscale: {target_sequences: 8, down_window: 90s}
"""


def test_file_says_what_is_wanted(tmp_path: Path) -> None:
    """Directories are taken from the file's own; a 0 is not the same as nothing."""
    path = tmp_path / "fleet.yaml"
    path.write_text(FILE)
    pocket, qwen = read_fleet_file(path).models
    assert (pocket.model_dir, pocket.replicas) == (f"{tmp_path}/checkpoints/pocket", 2)
    assert dict(pocket.adapters) == {"law": "/adapters/law"}
    assert (pocket.HasField("min_replicas"), qwen.HasField("min_replicas"), qwen.min_replicas) == (False, True, 0)
    assert (qwen.model_dir, qwen.quantize, qwen.autoscale.target_sequences) == ("/models/qwen", "int8", 8)
    assert qwen.autoscale.down_window.seconds == 90


def test_json_is_read_too(tmp_path: Path) -> None:
    """What a program writes."""
    path = tmp_path / "fleet.json"
    path.write_text('{"models": [{"name": "m", "model_dir": "/m", "replicas": 0}]}')
    (model,) = read_fleet_file(path).models
    assert (model.name, model.replicas, model.HasField("replicas")) == ("m", 0, True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("models: [", "no YAML"),
        ("- name: pocket", "no list `models`"),
        ("models: [{name: pocket, colour: red}]", 'has no field named "colour"'),
        ("models: [{name: pocket, replicas: two}]", "replicas"),
        ("models: [pocket]", "no list `models`"),
    ],
)
def test_wrong_file_is_told_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    """With the file's name, and what is wrong there."""
    path = tmp_path / "fleet.yaml"
    path.write_text(content)
    with pytest.raises(CommandError, match=message) as caught:
        read_fleet_file(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_without_a_stack_one_line_says_so(cli: Cli, tmp_path: Path) -> None:
    """And nothing else happens."""
    file = tmp_path / "fleet.yaml"
    file.write_text(FILE)
    for arguments in (["status"], ["scale", "pocket", "2"], ["drain", "pocket-0"], ["apply", str(file)]):
        ran = cli("fleet", *arguments)
        assert ran.code == 3
        assert ran.err.count("\n") == 1
        assert "penstock up" in ran.err


class Fleet:
    """Answers GetFleet with one state after the other; the last one for ever. Time passes with each sleep."""

    def __init__(self, *answers: fleet_pb2.GetFleetResponse) -> None:
        self._answers = list(answers)
        self.now_s = 0.0
        self.told: list[str] = []

    def ask(self, method: str, request: Any, timeout_s: float) -> fleet_pb2.GetFleetResponse:
        """The next state."""
        assert method == "GetFleet"
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def sleep(self, seconds: float) -> None:
        """At once."""
        self.now_s += seconds

    def wait(self, patience: Patience) -> None:
        """As a command does."""
        wait_until_settled(self.ask, patience, tell=self.told.append, clock=lambda: self.now_s, sleep=self.sleep)


def told(*replicas: tuple[str, str, str], is_settled: bool = False, problem: str = "") -> fleet_pb2.GetFleetResponse:
    """A state: id, state and detail of each replica."""
    return fleet_pb2.GetFleetResponse(
        directory=fleet_pb2.Directory(
            replicas=[
                fleet_pb2.Replica(
                    replica_id=name, state=fleet_pb2.ReplicaState.Value(f"REPLICA_STATE_{state}"), detail=detail
                )
                for name, state, detail in replicas
            ]
        ),
        progress=[fleet_pb2.ModelProgress(model="m", is_settled=is_settled, problem=problem)],
    )


def test_each_step_is_told_once() -> None:
    """Whoever waits sees that it goes on."""
    fleet = Fleet(
        told(("m-0", "READY", "")),
        told(("m-0", "READY", ""), ("m-1", "PLACING", "")),
        told(("m-0", "READY", ""), ("m-1", "PLACING", "")),
        told(("m-0", "DRAINING", ""), ("m-1", "READY", "")),
        told(("m-1", "READY", ""), is_settled=True),
    )
    fleet.wait(Patience(60))
    assert fleet.told == ["m-1  placing", "m-0  draining", "m-1  ready", "m-0  gone"]


def test_what_fails_ends_the_wait() -> None:
    """A new checkpoint that cannot be loaded is not waited for until the time is up."""
    fleet = Fleet(told(("m-0", "READY", ""), ("m-1", "FAILED", "no memory"), problem="m-1: no memory"))
    with pytest.raises(CommandError, match="m-1: no memory; the others serve on"):
        fleet.wait(Patience(60))
    assert fleet.now_s < 10


def test_wait_has_an_end() -> None:
    """The fleet goes on by itself."""
    fleet = Fleet(told(("m-0", "LOADING", "")))
    with pytest.raises(CommandError, match="not done after 5 s"):
        fleet.wait(Patience(5))
