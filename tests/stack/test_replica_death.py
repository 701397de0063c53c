"""A replica's death costs nobody an answer."""

import os
import signal

from stack.running import RunningStack

from penstock.fleet.v1 import fleet_pb2

_QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


def test_a_killed_replica_comes_back_while_the_other_serves(stack: RunningStack) -> None:
    """Ray places, watches and restarts; users see an answer."""
    victim, survivor = stack.replicas()
    os.kill(victim.pid, signal.SIGKILL)
    with stack.client() as client:
        answers = [client.generate(messages=_QUESTION, cache="bypass") for _ in range(10)]
    assert all("Paris" in answer.text for answer in answers)
    assert survivor.replica_id in {answer.replica for answer in answers}

    def is_back(replicas: list[fleet_pb2.Replica]) -> bool:
        reborn = next(replica for replica in replicas if replica.replica_id == victim.replica_id)
        return reborn.state == fleet_pb2.REPLICA_STATE_READY and reborn.incarnation != victim.incarnation

    stack.wait_for_replicas(is_back)
    with stack.client() as client:
        replicas = {client.generate(messages=_QUESTION, cache="bypass").replica for _ in range(200)}
    assert replicas == {victim.replica_id, survivor.replica_id}


def test_a_stream_outlives_its_replica(stack: RunningStack) -> None:
    """No token is lost and none comes twice: the text equals an undisturbed one."""
    stack.wait_for_replicas(lambda replicas: all(r.state == fleet_pb2.REPLICA_STATE_READY for r in replicas))
    options = {"max_tokens": 400, "ignore_eos": True, "temperature": 0.8, "seed": 7, "cache": "bypass"}
    options |= {"return_token_ids": True}
    with stack.client() as client:
        undisturbed = client.generate("Once", **options)
        with client.stream("Once", **options) as stream:
            started = next(stream)
            victim = next(replica for replica in stack.replicas() if replica.replica_id == started.replica)
            next(stream)
            os.kill(victim.pid, signal.SIGKILL)
            resumed = stream.answer()
    assert resumed.num_resumed == 1
    assert resumed.token_ids == undisturbed.token_ids
    assert resumed.text == undisturbed.text
