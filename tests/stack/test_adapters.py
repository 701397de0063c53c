"""An adapter from the command line to the tokens, and back out."""

import os
import signal
from pathlib import Path

import grpc
import pytest
from fakes.adapters import save_adapter
from stack.running import RunningStack, running_stack

from penstock.client import PenstockError
from penstock.fleet.v1 import fleet_pb2
from penstock.local.paths import pocket_model_dir

PROMPT = "What is the capital of France?"


def test_adapter_is_loaded_named_survives_a_death_and_is_unloaded(tmp_path: Path) -> None:
    """What an operator does with one, and what a client sees of it."""
    adapters = {name: save_adapter(pocket_model_dir(), tmp_path / name, seed=seed) for seed, name in enumerate("ab")}
    with running_stack(tmp_path / "state", "--replicas=1", f"--adapter=a={adapters['a']}") as stack:
        loaded = stack.cli("adapters", "load", "b", str(adapters["b"]))
        assert loaded.returncode == 0, loaded.stderr
        before = answers(stack, None, "a", "b")
        assert len(set(before)) == 3
        os.kill(stack.replicas()[0].pid, signal.SIGKILL)
        stack.wait_for_replicas(lambda replicas: replicas[0].num_restarts == 1)
        stack.wait_for_replicas(lambda replicas: replicas[0].state == fleet_pb2.REPLICA_STATE_READY)
        assert answers(stack, None, "a", "b") == before
        assert stack.cli("adapters", "unload", "b").returncode == 0
        assert "a " in stack.cli("adapters", "list").stdout
        with pytest.raises(PenstockError, match="no adapter 'b'; there is: a") as refused:
            answers(stack, "b")
        assert refused.value.code is grpc.StatusCode.NOT_FOUND


def answers(stack: RunningStack, *adapters: str | None) -> list[str]:
    """The greedy answer of each adapter; None is the model as it is."""
    with stack.client() as client:
        named = [{} if adapter is None else {"adapter": adapter} for adapter in adapters]
        return [
            client.generate(PROMPT, temperature=0, max_tokens=12, ignore_eos=True, cache="bypass", **options).text
            for options in named
        ]
