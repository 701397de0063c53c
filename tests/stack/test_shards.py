"""Replicas of two shards, of which one is killed or stopped, again and again. PENSTOCK_TEST_KILLS says how often.

`pytest --junit-xml FILE` keeps how long each took to be back.
"""

import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from stack.running import RunningStack, running_stack
from stack.traffic import bystander, wait_until_idle

from penstock.fleet.v1 import fleet_pb2
from penstock_worker.fleet.back_off import CALM_S

NUM_ROUNDS = int(os.environ.get("PENSTOCK_TEST_KILLS", "2"))
READY = fleet_pb2.REPLICA_STATE_READY
_SIGNALS = (signal.SIGKILL, signal.SIGSTOP)


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Two replicas of the pocket model, each over two processes."""
    with running_stack(tmp_path_factory.mktemp("shards"), "--replicas=2", "--tensor-parallel=2") as stack:
        yield stack


def _actors(stack: RunningStack, name: str) -> list[psutil.Process]:
    """The processes of one kind of Ray actor."""
    worker = psutil.Process(next(each["pid"] for each in stack.status["services"] if each["name"] == "worker"))
    title = f"ray::{name}"
    return [each for each in worker.children(recursive=True) if " ".join(each.cmdline()).startswith(title)]


def _all_ready(replicas: list[fleet_pb2.Replica]) -> bool:
    return [replica.state for replica in replicas] == [READY, READY]


def _hurt(stack: RunningStack, kind: str, number: signal.Signals, randomness: random.Random) -> float:
    """Sends the signal to one of the processes, waits until its replica is back, and returns after how many seconds."""
    before = {replica.incarnation for replica in stack.replicas()}
    victim = randomness.choice(_actors(stack, kind))
    begin_s = time.monotonic()
    victim.send_signal(number)

    def is_back(replicas: list[fleet_pb2.Replica]) -> bool:
        return _all_ready(replicas) and len(before & {replica.incarnation for replica in replicas}) == 1

    stack.wait_for_replicas(is_back, timeout_s=120)
    assert not victim.is_running()
    return time.monotonic() - begin_s


def test_a_sharded_replica_answers_as_any_other(sharded: RunningStack) -> None:
    """Choices share their prompt, and forms are kept: the sampler sees whole rows of logits."""
    sharded.wait_for_replicas(_all_ready)
    with sharded.client() as client:
        messages = [{"role": "user", "content": "What is the capital of France?"}]
        answer = client.generate(messages=messages, temperature=0, cache="bypass")
        assert "Paris" in answer.text
        formed = client.generate(
            "A number:", regex="[0-9]{3}-[0-9]{3}", n=2, temperature=1, seed=3, max_tokens=20, cache="bypass"
        )
    texts = [choice.text for choice in formed.choices]
    assert all(re.fullmatch("[0-9]{3}-[0-9]{3}", text) for text in texts), texts
    assert len(set(texts)) == 2


@pytest.mark.timeout(180 + 60 * NUM_ROUNDS)
def test_a_replica_comes_back_whichever_of_its_processes_is_gone(
    sharded: RunningStack, record_property: Callable[[str, float], None]
) -> None:
    """Killed or hanging, leader or shard: nobody's stream breaks, and of the old replica nothing is left."""
    stack, randomness = sharded, random.Random(6)
    stack.wait_for_replicas(_all_ready)
    with bystander(stack) as somebody:
        for index in range(NUM_ROUNDS):
            if index > 0:
                time.sleep(CALM_S)  # or a replica may be hurt again that has just come back: a crash loop, which waits
            kind = ("ShardActor", "ReplicaActor")[index // 2 % 2]
            number = _SIGNALS[index % 2]
            seconds = _hurt(stack, kind, number, randomness)
            record_property(f"{index} {kind} {number.name}, back after s", round(seconds, 2))
        answers = len(somebody.answers)
    assert somebody.failure is None
    assert len(somebody.answers) >= answers
    assert len({tuple(answer) for answer in somebody.answers}) == 1
    wait_until_idle(stack)
    assert [len(_actors(stack, kind)) for kind in ("ReplicaActor", "ShardActor")] == [2, 2]
    assert not list(Path("/dev/shm").glob("*penstock*"))
