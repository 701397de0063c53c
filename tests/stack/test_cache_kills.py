"""The cache is killed amid writes, again and again. PENSTOCK_TEST_KILLS says how often; 3 by default."""

import os
import random
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

import grpc
import pytest
from fakes.local_stack import service
from stack.running import RunningStack
from stack.traffic import stub_of

from penstock.inference.v1 import inference_pb2, inference_pb2_grpc
from penstock.local.paths import StateDir
from penstock.local.record import load_state
from penstock.local.requests import ask_restart

NUM_KILLS = int(os.environ.get("PENSTOCK_TEST_KILLS", "3"))
NUM_ASKERS = 2
NUM_AGAIN = 50
HIT, MISS, SKIPPED = (
    inference_pb2.CACHE_OUTCOME_EXACT_HIT,
    inference_pb2.CACHE_OUTCOME_MISS,
    inference_pb2.CACHE_OUTCOME_SKIPPED,
)
_TIMEOUT_S = 60


@dataclass
class Load:
    """Clients that do not retry: each asks something new and then something that was asked before, without a pause.

    Attributes:
        generated: what the model said to each prompt.
        served: prompts and what the cache said to them.
        outcomes: how often the cache did what.
        failures: of requests.
    """

    stub: inference_pb2_grpc.InferenceServiceStub
    generated: dict[str, set[str]] = field(default_factory=dict)
    served: list[tuple[str, str]] = field(default_factory=list)
    outcomes: Counter[int] = field(default_factory=Counter)
    failures: list[grpc.RpcError] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def ask(self, prompt: str) -> int:
        """Asks, and notes what came; gives what the cache did."""
        request = inference_pb2.GenerationRequest(
            input={"text": prompt}, sampling={"temperature": 0, "max_tokens": 4, "ignore_eos": True}
        )
        asked = inference_pb2.CompleteRequest(request=request)
        answer = self.stub.Complete(asked, timeout=_TIMEOUT_S)
        outcome, text = answer.started.cache.outcome, answer.choices[0].output.text
        with self._changed:
            if outcome == HIT:
                self.served.append((prompt, text))
            else:
                self.generated.setdefault(prompt, set()).add(text)
            self.outcomes[outcome] += 1
            self._changed.notify_all()
        return outcome

    def run(self, numbers: Iterator[int]) -> None:
        """Asks until told to stop."""
        randomness = random.Random(next(numbers))
        while not self.stop.is_set():
            number = next(numbers)
            for prompt in (f"The number {number} is", f"The number {randomness.randint(0, number)} is"):
                try:
                    self.ask(prompt)
                except grpc.RpcError as error:
                    self.failures.append(error)

    def until(self, outcome: int, more: int) -> None:
        """Waits until the cache has done it so many times more."""
        with self._changed:
            wanted = self.outcomes[outcome] + more
            assert self._changed.wait_for(lambda: self.outcomes[outcome] >= wanted, _TIMEOUT_S), self.outcomes


@contextmanager
def under_load(stub: inference_pb2_grpc.InferenceServiceStub) -> Iterator[Load]:
    """Clients that ask beside what the block does."""
    load, numbers = Load(stub), count()
    askers = [threading.Thread(target=load.run, args=(numbers,)) for _ in range(NUM_ASKERS)]
    for asker in askers:
        asker.start()
    try:
        yield load
    finally:
        load.stop.set()
        for asker in askers:
            asker.join()


def check_database(stack: RunningStack) -> None:
    """Its file is sound, and was never set aside for a fresh one."""
    assert [path.name for path in stack.state_dir.glob("cache.db*") if "damaged" in path.name] == []
    connection = sqlite3.connect(f"file:{stack.state_dir / 'cache.db'}?mode=ro", uri=True)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def kill_cache(stack: RunningStack) -> None:
    """As the kernel does when memory is short."""
    os.kill(service(load_state(stack.state_dir / "stack.json"), "cache").process.pid, signal.SIGKILL)


@pytest.mark.timeout(120 + 60 * NUM_KILLS)
def test_no_request_notices_that_the_cache_is_killed(stack: RunningStack) -> None:
    """Every request is answered, and what the cache says afterwards is what the model had said."""
    randomness = random.Random(1)
    with stub_of(stack) as stub:
        with under_load(stub) as load:
            for _ in range(NUM_KILLS):
                load.until(MISS, randomness.randint(1, 40))  # so that answers are on their way to it
                kill_cache(stack)
                load.until(SKIPPED, 1)
                # The supervisor waits longer after each death in a row, unless somebody is in a hurry.
                ask_restart(StateDir(stack.state_dir).socket_file, "cache", timeout_s=_TIMEOUT_S)
                load.until(HIT, 1)
                check_database(stack)
        again = [load.ask(prompt) for prompt in list(load.generated)[-NUM_AGAIN:]]
    assert load.failures == []
    assert HIT in again
    assert [(prompt, text) for prompt, text in load.served if text not in load.generated[prompt]] == []
