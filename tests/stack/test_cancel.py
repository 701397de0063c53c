"""Work nobody waits for must stop."""

import subprocess
import sys
import time

from stack.running import RunningStack

_LONG_STREAM = """
import sys
from penstock import Client
with Client(sys.argv[1]).stream("Once", max_tokens=900, ignore_eos=True, temperature=1.0, seed=1) as stream:
    for event in stream:
        print(getattr(event, "replica", "more"), flush=True)
"""


def test_a_killed_clients_sequence_is_gone_within_a_step(stack: RunningStack) -> None:
    """Ghost generations eat the capacity of the living."""
    command = [sys.executable, "-c", _LONG_STREAM, stack.gateway_address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        replica_id = client.stdout.readline().strip()
        address = next(replica.address for replica in stack.replicas() if replica.replica_id == replica_id)
        before = stack.worker_stats(address)
        assert [client.stdout.readline().strip() for _ in range(3)] == ["more"] * 3
        client.kill()
    deadline = time.monotonic() + 20
    while (after := stack.worker_stats(address)).num_cancelled == before.num_cancelled:
        assert time.monotonic() < deadline, "the cancel never arrived"
    assert 0 <= after.last_cancel_effective_step - after.last_cancel_arrived_step <= 1
    assert (after.num_running, after.num_waiting) == (0, 0)
    assert after.num_free_blocks == after.num_kv_blocks
    assert after.engine_step < before.engine_step + 900
