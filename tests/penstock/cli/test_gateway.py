"""How a command reaches its gateway."""

from dataclasses import replace
from pathlib import Path

from penstock.cli.gateway import GatewayAccess
from penstock.local.plan import Addresses
from penstock.local.ports import Ports
from penstock.local.process_id import ProcessId
from penstock.local.state import Phase, StackState

STACK = StackState(
    phase=Phase.READY,
    supervisor=ProcessId(1, "a"),
    started_at=1.0,
    model_name="pocket",
    model_dir="/m",
    num_replicas=1,
    addresses=Addresses.on_loopback(Ports()),
    tls_cert="/gateway.pem",
)


def test_the_local_stacks_certificate_is_trusted_for_that_stack_alone() -> None:
    """A gateway elsewhere has to be vouched for, and one that speaks plaintext needs nothing."""
    assert GatewayAccess(None).trusting(STACK).tls_ca == Path("/gateway.pem")
    assert GatewayAccess(None, tls_ca=Path("/own.pem")).trusting(STACK).tls_ca == Path("/own.pem")
    assert GatewayAccess("llm.example:443").trusting(STACK).tls_ca is None
    assert GatewayAccess(None).trusting(replace(STACK, tls_cert=None)).tls_ca is None
    assert GatewayAccess(None).trusting(None).tls_ca is None
