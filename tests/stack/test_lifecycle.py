"""What starts with one command ends with one command."""

import json
from pathlib import Path

import psutil
from stack.running import run_cli, running_stack


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


def _processes_of(state_dir: Path) -> list[psutil.Process]:
    """The supervisor and all that it started, Ray's own processes too."""
    supervisor = psutil.Process(json.loads((state_dir / "stack.json").read_text())["supervisor"]["pid"])
    return [supervisor, *supervisor.children(recursive=True)]
