"""What starts with one command ends with one command."""

import json
from pathlib import Path
from typing import Any

import psutil
import pytest
from stack.running import RunningStack, run_cli, running_stack


def test_down_leaves_no_process(tmp_path: Path) -> None:
    """Ray, its workers, services and the supervisor: all of them."""
    with running_stack(tmp_path, "--replicas=1") as stack:
        before = _processes_of(tmp_path)
        assert len(before) >= 4, f"only {before}"
        assert run_cli(tmp_path, "down").returncode == 0
        gone, alive = psutil.wait_procs(before, timeout=15)
        assert alive == []
        assert len(gone) == len(before)
        assert stack.cli("status").returncode != 0


def test_a_killed_supervisor_takes_everything_with_it(tmp_path: Path) -> None:
    """An orphaned engine would hold memory and ports for ever."""
    with running_stack(tmp_path, "--replicas=1"):
        before = _processes_of(tmp_path)
        supervisor = json.loads((tmp_path / "stack.json").read_text())["supervisor"]["pid"]
        psutil.Process(supervisor).kill()
        _, alive = psutil.wait_procs(before, timeout=30)
        assert alive == []


@pytest.mark.timeout(600)
def test_each_service_can_be_restarted_under_a_client(tmp_path: Path) -> None:
    """The command returns when the stack serves again, and the next request needs no second try."""
    with running_stack(tmp_path, "--replicas=1") as stack, stack.client() as client:
        for name in ("cache", "tokenizer", "gateway", "worker"):
            before = _service(stack, name)
            restarted = stack.cli("restart", name)
            assert restarted.returncode == 0, restarted.stderr
            after = _service(stack, name)
            assert f"pid {before['pid']} -> {after['pid']}, at {before['address']}" in restarted.stdout
            assert after["pid"] != before["pid"]
            answer = client.generate("Once upon", max_tokens=4, ignore_eos=True, cache="bypass")
            assert answer.usage.completion_tokens == 4
        assert [found["restarts"] for found in stack.read_status()["services"]] == [0, 0, 0, 0]


def _service(stack: RunningStack, name: str) -> dict[str, Any]:
    return next(found for found in stack.read_status()["services"] if found["name"] == name)


def _processes_of(state_dir: Path) -> list[psutil.Process]:
    """The supervisor and all that it started, Ray's own processes too."""
    supervisor = psutil.Process(json.loads((state_dir / "stack.json").read_text())["supervisor"]["pid"])
    return [supervisor, *supervisor.children(recursive=True)]
