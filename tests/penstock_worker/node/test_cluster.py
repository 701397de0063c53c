"""Replicas on other hosts than the fleet's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.certificates import Authority, inner_tls_variables
from fakes.checkpoints import save_checkpoint

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]
# A network, and processes, of its own: Ray listens on every interface here, and nothing must outlive the test.
OWN_NETWORK = ["unshare", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    """A random Llama; its tokenizer is only fingerprinted."""
    directory = save_checkpoint("llama", tmp_path / "llama")
    (directory / "tokenizer.json").write_text("{}")
    return directory


def test_a_replica_is_found_on_the_node_it_was_placed_on(model_dir: Path, tmp_path: Path) -> None:
    """Gateways connect to what the directory says: the address of the replica's node, or of the next one's after it.

    The fleet heads a Ray without room for replicas; a node joins, and a second one after the first has gone. Fleet and
    replicas show and ask for certificates, which hold those addresses.
    """
    environment = _own_environment()
    authority = Authority(tmp_path)
    environment |= inner_tls_variables(authority.issue("any", hosts=["127.0.0.2", "127.0.0.3", "127.0.0.4"]), authority)
    ended = _run("two_hosts.py", model_dir, tmp_path, environment)
    assert "Draining for up to" not in ended.stderr  # a node that is to end does not wait for what does not leave
    addresses = json.loads(ended.stdout.splitlines()[-1])
    assert [address.rpartition(":")[0] for address in addresses] == ["127.0.0.3", "127.0.0.4"]


def test_replicas_spread_over_nodes_and_move_when_one_is_killed(model_dir: Path, tmp_path: Path) -> None:
    """Three nodes with room for all: a node's death takes one replica, not three, and the others have room for it.

    A replica that fits no node says in numbers what it lacks.
    """
    told = json.loads(_run("three_nodes.py", model_dir, tmp_path, _own_environment()).stdout.splitlines()[-1])
    assert told["first"] == ["127.0.0.3", "127.0.0.4", "127.0.0.5"]
    assert len(told["second"]) == 3
    assert set(told["second"]) == {"127.0.0.4", "127.0.0.5"}
    assert told["lack"].startswith("needs 64 CPU; no node has 64 CPU; free: ")


def _own_environment() -> dict[str, str]:
    """Without settings of whoever runs the tests; skips the test where nothing can have a network of its own."""
    if subprocess.run([*OWN_NETWORK, "ip", "link", "set", "lo", "up"], capture_output=True, check=False).returncode:
        pytest.skip("no network of its own can be made here: needs unshare, ip and user namespaces")
    return {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "RAY_"))}


def _run(
    script: str, model_dir: Path, directory: Path, environment: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    ended = subprocess.run(
        [*OWN_NETWORK, sys.executable, str(Path(__file__).with_name(script)), str(model_dir), str(directory)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=220,
    )
    assert ended.returncode == 0, ended.stderr
    return ended
