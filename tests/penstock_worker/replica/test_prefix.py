"""Sessions know which blocks a replica can find again, and requests find them: over loopback, with the real engine."""

from pathlib import Path

from fakes.gateway_session import GatewaySession, group
from fakes.running_replica import RunningReplica

from penstock.worker.v1 import worker_pb2
from penstock_shared.prefix_chain import CHAIN_FUNCTION, prefix_blocks, root_hash
from penstock_worker.models.loader import Checkpoint
from penstock_worker.models.revision import weights_revision

BLOCK_SIZE = 16
SHARED = [position % 250 for position in range(512)]


def _names(checkpoint: Path, prompt: list[int], cache_salt: bytes = b"") -> list[bytes]:
    """As a gateway computes them."""
    revision = weights_revision(checkpoint, Checkpoint(checkpoint).files)
    root = root_hash(cache_salt=cache_salt, revision=revision)
    return [block.hash for block in prefix_blocks(root, prompt, BLOCK_SIZE)]


async def _read_stored(session: GatewaySession, num_blocks: int) -> list[bytes]:
    """Reads on until so many blocks have been stored; their names in order."""
    stored: list[bytes] = []
    while len(stored) < num_blocks:
        events = (await session.read_kind("prefix_events")).prefix_events
        assert events.first_event_number == len(stored) + 1
        stored += [event.stored_block_hash for event in events.events]
    return stored


async def test_sixteen_requests_with_a_shared_prefix_compute_it_once(replica: RunningReplica) -> None:
    """By the replica's own counters; eight at a time, for more would be over the credit."""
    session = await replica.session()
    for first in (0, 8):
        ids = range(first, first + 8)
        await session.submit(*(group(i + 1, prompt=[*SHARED, i, i, i], max_tokens=4) for i in ids))
        received = await session.read_ends([i + 1 for i in ids])
        cached = sorted(each.end.cached_prompt_tokens for each in received.values() if each.end)
        assert cached == ([0] if first == 0 else [512]) + [512] * 7
    stats = await replica.stats()
    assert stats.num_prefix_hit_tokens == 15 * 512
    assert stats.num_computed_tokens == 512 + 16 * (3 + 3)


async def test_choices_of_a_group_compute_their_prompt_once(replica: RunningReplica) -> None:
    """N > 1 costs one prompt."""
    session = await replica.session()
    await session.submit(group(1, 2, 3, 4, prompt=SHARED[:100], max_tokens=2))
    await session.read_ends([1, 2, 3, 4])
    assert (await replica.stats()).num_computed_tokens == 100 + 3 * 4 + 4


async def test_sessions_are_told_the_names_that_a_gateway_computes(replica: RunningReplica, checkpoint: Path) -> None:
    """Those there are already in Hello, later ones as events."""
    first = await replica.session()
    assert first.hello.prefix_index == worker_pb2.PrefixIndexSnapshot(
        chain_function=CHAIN_FUNCTION, block_size=BLOCK_SIZE
    )
    made = group(1, prompt=SHARED[:40], max_tokens=1)
    made.cache_salt = b"acme"
    await first.submit(made)
    names = _names(checkpoint, SHARED[:40], b"acme")
    assert await _read_stored(first, 2) == names
    second = await replica.session()
    assert list(second.hello.prefix_index.block_hashes) == names
    assert second.hello.prefix_index.event_number == 2


async def test_gateway_that_has_lost_count_gets_a_snapshot(replica: RunningReplica, checkpoint: Path) -> None:
    """It asks, and goes on from there."""
    session = await replica.session()
    await session.submit(group(1, prompt=SHARED[:40], max_tokens=1))
    await _read_stored(session, 2)
    request = worker_pb2.SessionRequest(resend_prefix_index=worker_pb2.ResendPrefixIndex())
    await session.call.write(request)
    snapshot = (await session.read_kind("prefix_index")).prefix_index
    assert (list(snapshot.block_hashes), snapshot.event_number) == (_names(checkpoint, SHARED[:40]), 2)


async def test_tenants_share_nothing(replica: RunningReplica) -> None:
    """Whose salt is another finds nothing, and names nothing alike."""
    session = await replica.session()
    groups = [group(i, prompt=SHARED[:40], max_tokens=1) for i in (1, 2)]
    groups[0].cache_salt, groups[1].cache_salt = b"acme", b"other"
    await session.submit(*groups)
    assert len(set(await _read_stored(session, 4))) == 4
    received = await session.read_ends([1, 2])
    assert [each.end.cached_prompt_tokens for each in received.values() if each.end] == [0, 0]
