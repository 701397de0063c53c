"""Requests go to the replica that has computed their beginning; tenants have no beginning in common."""

from pathlib import Path

from fakes.gateway_deployment import Deployment, StartDeployment
from fakes.scripted_worker import ScriptedWorker

from penstock.worker.v1 import worker_pb2
from penstock_gateway.dispatch.prompt_names import PromptNames
from penstock_shared.credentials import FleetCredential

TEXT = "a" * 530


def events(prompt: worker_pb2.SequenceGroup, first_event_number: int = 1) -> worker_pb2.PrefixEvents:
    """What a worker says when it has computed a prompt."""
    names = PromptNames(prompt.prompt_token_ids, prompt.cache_salt).hashes("revision-1", 16)
    return worker_pb2.PrefixEvents(
        first_event_number=first_event_number,
        events=[worker_pb2.PrefixEvent(stored_block_hash=name) for name in names],
    )


def found_at(deployment: Deployment, worker: ScriptedWorker, prompt: worker_pb2.SequenceGroup) -> int:
    """Tokens of a prompt that the gateway takes to be at a replica."""
    (link,) = (each for each in deployment.gateway.dispatcher.links if each.replica_id == worker.replica_id)
    return link.num_found_tokens(PromptNames(prompt.prompt_token_ids, prompt.cache_salt))


async def test_the_replica_that_has_the_prompt_gets_it_and_the_client_is_told_why(pair: Deployment) -> None:
    """Otherwise it would be the other one's turn."""
    first = await pair.complete(TEXT)
    (worker,) = (each for each in pair.workers if each.replica_id == first.started.replica)
    worker.send(prefix_events=events(worker.groups[0]))
    await pair.until(lambda: found_at(pair, worker, worker.groups[0]) == 528)
    for tail in ("b", "c"):
        again = await pair.complete(TEXT + tail)
        assert again.started.replica == worker.replica_id
        assert again.started.routing_reason == "least loaded: 0.00 vs 0.00, prefix 528 of 531 tokens"


async def test_a_gap_in_the_events_is_made_good_by_a_snapshot(deployment: Deployment) -> None:
    """The gateway asks for it once, and believes nothing until it is there."""
    worker = deployment.workers[0]
    await deployment.complete(TEXT)
    prompt = worker.groups[0]
    worker.send(prefix_events=events(prompt, first_event_number=7))
    await worker.until(lambda: worker.num_resends == 1)
    worker.send(prefix_events=events(prompt, first_event_number=40))
    names = [event.stored_block_hash for event in events(prompt).events]
    snapshot = worker_pb2.PrefixIndexSnapshot(event_number=72, block_hashes=names[:20])
    rest = worker_pb2.PrefixIndexSnapshot(event_number=72, block_hashes=names[20:], is_continuation=True)
    worker.send(prefix_index=snapshot)
    worker.send(prefix_index=rest)
    await deployment.until(lambda: found_at(deployment, worker, prompt) == 528)
    assert worker.num_resends == 1


async def test_tenants_have_salts_of_their_own_that_all_gateways_agree_on(
    start: StartDeployment, tmp_path: Path
) -> None:
    """A salt follows from the fleet credential and the tenant, and from nothing that a client says."""
    credential = FleetCredential.create(tmp_path / "fleet.credential")
    deployment = await start(fleet_credential_file=tmp_path / "fleet.credential")
    for text in ("one", "two"):
        await deployment.complete(text)
    salts = {group.cache_salt for group in deployment.workers[0].groups}
    assert salts == {credential.derive("cache salt", "default")}
