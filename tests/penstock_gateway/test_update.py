"""A model is updated under load: no request fails, and each is answered by one revision, which the answer names."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fakes.gateway_deployment import SPEC, Deployment, StartDeployment, collect, text_of
from fakes.scripted_worker import ScriptedWorker

from penstock.worker.v1 import worker_pb2
from penstock_shared.directory import Directory, ModelSpec, OtherRevision

NEW = replace(SPEC, revision="revision-2")
TEXT = {"revision-1": "the answer of the old weights", "revision-2": "what the new weights say"}


def saying(revision: str) -> Any:
    """What replicas of a revision say."""

    def reply(_group: worker_pb2.SequenceGroup, _choice: worker_pb2.SequenceChoice) -> Sequence[int]:
        return TEXT[revision].encode()

    return reply


async def publish(deployment: Deployment, current: ModelSpec, *others: OtherRevision) -> None:
    """The fleet's directory changes."""
    replicas = tuple(worker.info for worker in deployment.workers)
    directory = Directory(deployment.fleet.directory.version + 1, (current,), replicas, other_revisions=others)
    await deployment.fleet.publish(directory)


async def two_revisions(start: StartDeployment) -> tuple[Deployment, ScriptedWorker, ScriptedWorker]:
    """An old and a new replica, both with a share."""
    deployment = await start(num_replicas=0, is_ready=False)
    for revision in TEXT:
        await deployment.add_worker(reply=saying(revision), revision=revision)
    await publish(deployment, SPEC, OtherRevision(NEW, takes_new_requests=True))
    await deployment.until_ready(2)
    return deployment, *deployment.workers


async def test_each_answer_is_of_the_one_revision_that_it_names(start: StartDeployment) -> None:
    """While both serve, each gets requests."""
    deployment, _, _ = await two_revisions(start)
    named: Counter[str] = Counter()
    for _ in range(40):
        events = await collect(deployment.generate())
        revision = events[0].started.model_revision
        named[revision] += 1
        assert text_of(events) == TEXT[revision]
    assert sorted(named) == ["revision-1", "revision-2"]
    await deployment.until_idle()


async def test_what_a_dead_replica_had_goes_on_at_its_own_revision(start: StartDeployment) -> None:
    """Half an answer of each would be no answer. It waits for a replica of its revision, though another has room."""
    deployment, old, new = await two_revisions(start)
    old.pause_after = 5
    await publish(deployment, SPEC, OtherRevision(NEW, takes_new_requests=False))
    call = deployment.generate()
    await deployment.until(lambda: bool(old.groups))
    await publish(deployment, NEW, OtherRevision(SPEC, takes_new_requests=False))
    again = await deployment.add_worker(reply=saying("revision-1"), revision="revision-1", replica_id="old-again")
    await publish(deployment, NEW, OtherRevision(SPEC, takes_new_requests=False))
    await deployment.until_ready(3)
    old.break_sessions()
    events = await collect(call)
    assert text_of(events) == TEXT["revision-1"]
    assert (events[0].started.model_revision, events[-1].final.num_resumed) == ("revision-1", 1)
    assert (len(again.groups), new.groups) == (1, [])


async def test_request_of_a_retired_revision_is_finished_by_it(start: StartDeployment) -> None:
    """It was accepted for the old one and waits for credit; all that come later are for the new one."""
    deployment, old, new = await two_revisions(start)
    await publish(deployment, SPEC, OtherRevision(NEW, takes_new_requests=False))
    old.reply, old.num_sequences = None, 1
    early = [asyncio.create_task(collect(deployment.generate(f"Hi {index}"))) for index in range(12)]
    await deployment.until(lambda: len(deployment.gateway.dispatcher.queues.get(SPEC.key, ())) > 0)
    await publish(deployment, NEW, OtherRevision(SPEC, takes_new_requests=False))
    await deployment.until(lambda: deployment.gateway.models.directory_version == deployment.fleet.directory.version)
    late = await collect(deployment.generate("late"))
    assert late[0].started.model_revision == "revision-2"
    report = await reported(deployment, "revision-1", 12)
    assert report.directory_version == deployment.fleet.directory.version
    for task in early:
        task.cancel()
    await asyncio.gather(*early, return_exceptions=True)
    await reported(deployment, "revision-1", 0)
    assert len(new.groups) == 1


async def reported(deployment: Deployment, revision: str, num_requests: int) -> Any:
    """The first report of as many requests for a revision."""

    def matches() -> bool:
        told = {each.revision: each.num_requests for each in deployment.fleet.reports[-1].demand}
        return told.get(revision, 0) == num_requests

    deployment.fleet.reports.clear()
    await deployment.until(lambda: bool(deployment.fleet.reports) and matches())
    return deployment.fleet.reports[-1]


async def test_fleet_hears_what_waits_and_what_runs(start: StartDeployment) -> None:
    """By this it scales."""
    deployment = await start(num_replicas=0, is_ready=False)
    await deployment.add_worker(reply=None, num_sequences=2)
    await deployment.until_ready()
    calls = [asyncio.create_task(collect(deployment.generate("abcd"))) for _ in range(5)]
    await deployment.until(lambda: deployment.num_queued == 3)
    report = await reported(deployment, "revision-1", 5)
    (demand,) = report.demand
    assert (demand.model, demand.num_running, demand.num_waiting) == ("pocket", 2, 3)
    assert demand.num_waiting_tokens == sum(
        len(generation.job.prompt_token_ids)
        for queue in deployment.gateway.dispatcher.queues.values()
        for generation in queue.items()
    )
    assert demand.predicted_wait.ToMilliseconds() > 0
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


async def test_request_waits_for_a_model_that_is_being_brought_up(start: StartDeployment) -> None:
    """A model without replicas that the first request wakes: it waits as long as its deadline lets it."""
    deployment = await start(num_replicas=0, is_ready=False, longest_wait_without_replica_s=0.0)
    await deployment.fleet.publish(Directory(1, (SPEC,), (), asleep=("pocket",)))
    await deployment.until(lambda: not deployment.gateway.missing())
    call = asyncio.create_task(collect(deployment.generate()))
    report = await reported(deployment, "revision-1", 1)
    assert report.demand[0].num_waiting == 1
    await deployment.add_worker()
    assert text_of(await call) == "Hello, world"
