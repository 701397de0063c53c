"""A node process: what it tells Ray, and that it waits for a head that is not there yet."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from penstock_worker.node.__main__ import join_command
from penstock_worker.node.settings import NodeSettings


def start_node(**variables: str) -> subprocess.Popen[str]:
    """`python -m penstock_worker.node`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "RAY_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "penstock_worker.node"],
        env=environment | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_ray_is_told_everything_that_was_set(tmp_path: Path) -> None:
    """Ray would guess the address from the route to the internet, which an inner network lacks."""
    settings = NodeSettings(head="fleet:6379", ray_token_file=tmp_path, port=6380, num_cpus=3)
    assert join_command(settings, "10.0.0.7")[1:] == [
        "-m",
        "ray.scripts.scripts",
        "start",
        "--block",
        "--disable-usage-stats",
        "--address=fleet:6379",
        "--node-ip-address=10.0.0.7",
        "--node-manager-port=6380",
        "--num-cpus=3",
        "--object-store-memory=83886080",
    ]


def test_a_missing_token_ends_the_node_with_one_line() -> None:
    """It must not join, or wait, without proof of who it is."""
    node = start_node(PENSTOCK_NODE_HEAD="127.0.0.1:1", PENSTOCK_NODE_RAY_TOKEN_FILE="/nowhere")
    assert node.communicate(timeout=60) == ("error: Ray token /nowhere: No such file or directory\n", None)
    assert node.returncode == 1


def test_a_node_waits_for_its_head(tmp_path: Path) -> None:
    """Containers start in any order; a node must not fail because it was first."""
    token = tmp_path / "token"
    token.write_text("t" * 32)
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    node = start_node(PENSTOCK_NODE_HEAD=f"127.0.0.1:{port}", PENSTOCK_NODE_RAY_TOKEN_FILE=str(token))
    try:
        assert node.stdout is not None
        assert "waiting for the head" in node.stdout.readline()
        with socket.create_server(("127.0.0.1", port)) as head:
            head.settimeout(60)
            connection, _ = head.accept()
            connection.close()
            line = node.stdout.readline()
            assert "joining" in line
            assert f"--address=127.0.0.1:{port} --node-ip-address=127.0.0.1 " in line
    finally:
        node.send_signal(signal.SIGKILL)
        node.communicate()
