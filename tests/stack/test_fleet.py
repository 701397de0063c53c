"""What operators ask of the fleet while requests run: no answer is lost, and none is of two minds."""

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from safetensors.numpy import load_file, save_file
from stack.running import RunningStack, running_stack

from penstock import Client
from penstock.local.paths import pocket_model_dir

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]
_QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
_TEMPLATE_MARK = "{# another template #}"


@pytest.fixture(scope="module")
def other_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pocket model with other weights, which say something else, and another chat template."""
    directory = tmp_path_factory.mktemp("checkpoints") / "other"
    shutil.copytree(pocket_model_dir(), directory, ignore=shutil.ignore_patterns("training", "*.png", "*.md"))
    weights = load_file(directory / "model.safetensors")
    turned = {name: each[::-1].copy() if "embed" in name else each for name, each in weights.items()}
    save_file(turned, directory / "model.safetensors")
    template = directory / "chat_template.jinja"
    template.write_text(_TEMPLATE_MARK + template.read_text())
    return directory


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """One replica whose answers do not depend on what else it computes: each start takes seconds."""
    with running_stack(tmp_path_factory.mktemp("fleet"), "--deterministic", "--replicas", "1") as started:
        yield started


class Crowd:
    """Clients that ask one after the other until told to stop.

    Attributes:
        answers: revision and text of each answer.
        failures: what went wrong.
    """

    def __init__(self, address: str, num_clients: int = 4) -> None:
        self.answers: list[tuple[str, str]] = []
        self.failures: list[Exception] = []
        self._address = address
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(num_clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with Client(self._address) as client:
            while not self._is_over.is_set():
                try:
                    answer = client.generate(messages=_QUESTION, cache="bypass", temperature=0, max_tokens=24)
                except Exception as error:  # noqa: BLE001 - whatever it is, it must not have been
                    self.failures.append(error)
                else:
                    self.answers.append((answer.model_revision, answer.text))


def test_update_under_load_fails_no_request(stack: RunningStack, other_checkpoint: Path) -> None:
    """Each answer is of exactly one revision, which it names; afterwards all are of the new one."""
    with Crowd(stack.gateway_address) as crowd:
        updated = stack.cli("fleet", "update", "pocket", "--model-dir", str(other_checkpoint))
    assert updated.returncode == 0, updated.stderr
    assert updated.stdout.splitlines()[-1] == "done: pocket 1 of 1 ready"
    assert crowd.failures == []
    told = json.loads(stack.cli("fleet", "status", "--json").stdout)
    new = told["directory"]["models"][0]["revision"]
    assert {replica["revision"] for replica in told["directory"]["replicas"]} == {new}
    by_revision: dict[str, set[str]] = {}
    for revision, text in crowd.answers:
        by_revision.setdefault(revision, set()).add(text)
    assert len(by_revision) == 2
    assert [len(texts) for texts in by_revision.values()] == [1, 1]
    assert by_revision.pop(new) != next(iter(by_revision.values()))


def test_drain_under_load_fails_no_request(stack: RunningStack) -> None:
    """The replica is replaced, though it is the only one; the command returns when it is done."""
    (before,) = stack.replicas()
    with Crowd(stack.gateway_address) as crowd:
        drained = stack.cli("fleet", "drain", before.replica_id)
    assert drained.returncode == 0, drained.stderr
    assert drained.stdout.splitlines()[-1] == "done: pocket 1 of 1 ready"
    assert crowd.failures == []
    assert len(crowd.answers) > 0
    (after,) = stack.replicas()
    assert after.replica_id != before.replica_id


def test_model_that_nobody_asks_sleeps_and_wakes(stack: RunningStack, tmp_path: Path) -> None:
    """No replica, no memory; the first request waits until one is there, and the stack counts as ready meanwhile."""
    model = {"name": "pocket", "model_dir": str(pocket_model_dir()), "min_replicas": 0, "max_replicas": 2}
    file = tmp_path / "fleet.json"
    file.write_text(json.dumps({"models": [model | {"autoscale": {"idle_window": "2s", "down_window": "2s"}}]}))
    assert stack.cli("fleet", "apply", str(file)).returncode == 0
    stack.wait_for_replicas(lambda replicas: not replicas)
    assert stack.read_status()["is_serving"]
    with stack.client() as client:
        assert "Paris" in client.generate(messages=_QUESTION, cache="bypass", temperature=0).text
