"""compose.yaml, run: it answers this host, bears the crash of a worker's container, and leaves nothing behind."""

from contextlib import ExitStack
from typing import Any

from containers.engine import Deployment

from penstock import Client
from penstock.client import CacheOutcome

_QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


def ready(replicas: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Addresses of those that serve."""
    return {name: replica["address"] for name, replica in replicas.items() if replica["state"] == "REPLICA_STATE_READY"}


def test_an_answer_streams_to_the_host(deployment: Deployment) -> None:
    """The way of every user: the published port, a real client."""
    with Client(deployment.address) as client, client.stream(messages=_QUESTION, cache="bypass") as stream:
        pieces = list(stream.text)
    assert "".join(pieces) == "The capital of France is Paris."
    assert len(pieces) > 1


def test_the_cache_is_used(deployment: Deployment) -> None:
    """It is a container of its own, which has to be found and believed. An answer is kept after its client has it."""
    with Client(deployment.address) as client:
        answers = [client.generate("Name the opposite of cold.", temperature=0) for _ in range(100)]
    assert answers[0].cache.outcome == CacheOutcome.MISS
    assert answers[-1].cache.outcome == CacheOutcome.EXACT_HIT
    assert len({answer.text for answer in answers}) == 1


def test_a_crashed_worker_costs_no_token_and_comes_back(deployment: Deployment) -> None:
    """Each replica has a container of its own; the stream of the one that dies goes on at the other.

    The container's restart policy brings it back, Ray joins it again, and the fleet places the replica there.
    """
    options = {"max_tokens": 900, "ignore_eos": True, "temperature": 0.8, "seed": 7, "cache": "bypass"}
    with Client(deployment.address) as client, deployment.replicas() as directories:
        before = ready(next(replicas for replicas in directories if len(ready(replicas)) == 2))
        undisturbed = client.generate("Once", **options)
        containers = {name: deployment.worker_at(address) for name, address in before.items()}
        with ExitStack() as stack:
            crash = {
                name: stack.enter_context(deployment.ready_to_crash(container))
                for name, container in containers.items()
            }
            stream = stack.enter_context(client.stream("Once", **options))
            victim = next(stream).replica
            next(stream)
            crash[victim]()
            resumed = stream.answer()
        assert (resumed.text, resumed.num_resumed) == (undisturbed.text, 1)

        (other,) = before.keys() - {victim}
        assert ready(next(each for each in directories if each[victim]["state"] != "REPLICA_STATE_READY")) == {
            other: before[other]
        }
        answer = client.generate(messages=_QUESTION, cache="bypass")
        assert (answer.text, answer.replica) == ("The capital of France is Paris.", other)

        after = ready(next(replicas for replicas in directories if len(ready(replicas)) == 2))
        assert after[victim] != before[victim]
        assert deployment.worker_at(after[victim]) == containers[victim]


def test_every_container_is_healthy_by_its_own_check(deployment: Deployment) -> None:
    """The checks of compose.yaml are commands: they must exist in the images and answer yes."""
    checks = {
        name: deployment.engine.run("inspect", "-f", "{{json .Config.Healthcheck.Test}}", name)
        for name in deployment.names("container")
    }
    assert len(checks) == 6
    for name, check in checks.items():
        address = check.rpartition("penstock_shared.healthcheck")[2].strip('"] ,\n')
        deployment.engine.run("exec", name, "python", "-m", "penstock_shared.healthcheck", address)


def test_down_leaves_nothing(deployment: Deployment) -> None:
    """The last one: it ends the containers of the tests above."""
    assert len(deployment.names("container", "--all")) == 6
    deployment.compose("down", "--volumes")
    everything = {"container": ("--all",), "network": (), "volume": ()}
    assert [deployment.names(kind, *options) for kind, options in everything.items()] == [[], [], []]
