"""The process: what cannot serve says so in one line, before Ray is started."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run_worker(tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs `python -m penstock_worker` to its end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "RAY_"))}
    environment |= {"PENSTOCK_STATE_DIR": str(tmp_path / "state")} | variables
    return subprocess.run(
        [sys.executable, "-m", "penstock_worker"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({}, "PENSTOCK_WORKER_MODEL_DIR is not set"),
        ({"PENSTOCK_WORKER_REPLICAS": "0"}, "PENSTOCK_WORKER_REPLICAS: got '0'"),
        ({"PENSTOCK_WORKER_MODEL_DIR": "{empty}"}, "config.json: got 'No such file or directory'"),
        ({"PENSTOCK_FLEET_CREDENTIAL_FILE": "/nowhere"}, "fleet credential /nowhere: No such file or directory"),
        ({"PENSTOCK_INNER_TLS_CA_FILE": "/nowhere"}, "PENSTOCK_INNER_TLS_CERT_FILE, PENSTOCK_INNER_TLS_KEY_FILE and"),
        ({"PENSTOCK_WORKER_RAY_HEAD": "fleet:6379"}, "needs PENSTOCK_WORKER_RAY_TOKEN_FILE"),
        ({"PENSTOCK_WORKER_RAY_HEAD": "fleet:6379", "RAY_ADDRESS": "10.0.0.1:6379"}, "set one of the two"),
        (
            {"PENSTOCK_WORKER_RAY_HEAD": "fleet:6379", "PENSTOCK_WORKER_RAY_TOKEN_FILE": "/token"},
            "PENSTOCK_WORKER_RAY_HEAD: got 'fleet:6379'; Value error, replicas on other nodes cannot be reached",
        ),
    ],
)
def test_what_cannot_serve_ends_with_one_line_and_exit_code_1(
    tmp_path: Path, variables: dict[str, str], reason: str
) -> None:
    """An operator reads the reason, not a traceback."""
    filled = {name: value.format(empty=tmp_path) for name, value in variables.items()}
    if variables:
        filled = {"PENSTOCK_WORKER_MODEL_DIR": str(tmp_path), "PENSTOCK_WORKER_MODEL_NAME": "tiny"} | filled
    ended = run_worker(tmp_path, **filled)
    assert ended.returncode == 1
    lines = ended.stderr.strip().splitlines()
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith("error: ")
    assert reason in lines[0]
