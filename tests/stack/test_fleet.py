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
    """Two replicas whose answers do not depend on what else they compute."""
    with running_stack(tmp_path_factory.mktemp("fleet"), "--deterministic") as started:
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
    assert updated.stdout.splitlines()[-1] == "done: pocket 2 of 2 ready"
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


def test_drain_and_scale_under_load_fail_no_request(stack: RunningStack) -> None:
    """Replicas are replaced and go; the commands return when it is done."""
    with Crowd(stack.gateway_address) as crowd:
        ran = [
            stack.cli("fleet", "drain", stack.replicas()[0].replica_id),
            stack.cli("fleet", "scale", "pocket", "1"),
        ]
    assert [each.stdout.splitlines()[-1] for each in ran] == [
        "done: pocket 2 of 2 ready",
        "done: pocket 1 of 1 ready",
    ], [each.stderr for each in ran]
    assert crowd.failures == []
    assert len(crowd.answers) > 0
    assert len(stack.replicas()) == 1
