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
    if subprocess.run([*OWN_NETWORK, "ip", "link", "set", "lo", "up"], capture_output=True, check=False).returncode:
        pytest.skip("no network of its own can be made here: needs unshare, ip and user namespaces")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "RAY_"))}
    authority = Authority(tmp_path)
    environment |= inner_tls_variables(authority.issue("any", hosts=["127.0.0.2", "127.0.0.3", "127.0.0.4"]), authority)
    ended = subprocess.run(
        [*OWN_NETWORK, sys.executable, str(Path(__file__).with_name("two_hosts.py")), str(model_dir), str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Draining for up to" not in ended.stderr  # a node that is to end does not wait for what does not leave
    addresses = json.loads(ended.stdout.splitlines()[-1])
    assert [address.rpartition(":")[0] for address in addresses] == ["127.0.0.3", "127.0.0.4"]
