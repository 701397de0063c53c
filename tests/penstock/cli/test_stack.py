"""`penstock up`, `status`, `logs` and `down` as a user runs them, over tiny real services."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.local_stack import fake_environment

from penstock.local.control import running_stack
from penstock.local.paths import StateDir
from penstock.local.process_id import ProcessId

PENSTOCK = [sys.executable, "-m", "penstock"]
ANY_PORTS = [
    "--gateway-port",
    "0",
    "--http-port",
    "0",
    "--cache-port",
    "0",
    "--tokenizer-port",
    "0",
    "--admin-port",
    "0",
    "--fleet-port",
    "0",
]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Something that looks like a checkpoint."""
    directory = tmp_path / "tiny-llama"
    directory.mkdir()
    (directory / "config.json").write_text("{}")
    return directory


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """Where the stack of the test lives."""
    return tmp_path / "state"


@pytest.fixture
def penstock(state_dir: Path) -> Iterator[Run]:
    """Runs `penstock ARGUMENTS`; whatever is up at the end goes down."""

    def run(*arguments: str, **behaviours: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        environment = {**fake_environment(**behaviours), "PENSTOCK_STATE_DIR": str(state_dir)}
        return subprocess.run([*PENSTOCK, *arguments], env=environment, capture_output=True, text=True, check=False)

    yield run
    run("down")


def test_a_stack_from_up_to_down(penstock: Run, model: Path, state_dir: Path) -> None:
    """The commands of the first page of the documentation work together."""
    up = penstock("up", "--detach", "--model", str(model), *ANY_PORTS)
    assert (up.returncode, up.stderr) == (0, "")
    state = running_stack(StateDir(state_dir))
    assert "Ready after" in up.stdout
    assert f"gateway  {state.addresses.gateway}" in up.stdout
    assert "tokenizer ready at" in up.stdout
    assert "It listens on this machine only (loopback) and lets everybody on it in." in up.stdout

    status = penstock("status", "--json")
    report = json.loads(status.stdout)
    assert (status.returncode, report["phase"], report["is_serving"]) == (0, "ready", True)
    assert report["model"] == {"name": "tiny-llama", "dir": str(model)}
    assert {service["name"]: service["health"] for service in report["services"]} == {
        "cache": "serving",
        "tokenizer": "serving",
        "worker": "serving",
        "gateway": "serving",
    }
    assert all(ProcessId.of(service["pid"]) is not None for service in report["services"])
    assert [(replica["id"], replica["state"], replica["incarnation"]) for replica in report["replicas"]] == [
        ("tiny-llama-0", "ready", 1),
        ("tiny-llama-1", "ready", 1),
    ]
    assert report["replicas"][0]["numerics"] == "7c70abbd/float32+w8a8/tp1.pp1/cpu/torch"
    shown = penstock("status").stdout
    assert f"ready, serving tiny-llama at {state.addresses.gateway}" in shown
    assert "float32+w8a" in shown  # a narrow terminal breaks it there

    assert penstock("generate", "What is the capital of France?").stdout == "Paris.\n"

    second = penstock("up", "--detach", "--model", str(model), *ANY_PORTS)
    assert second.returncode == 1
    assert second.stderr.startswith(f"error: a stack already runs from {state_dir} (pid {state.supervisor.pid}")

    down = penstock("down")
    assert down.returncode == 0
    assert all(f"{service.name} (pid " in down.stdout for service in state.services)
    assert not any(service.process and service.process.is_alive for service in state.services)
    assert not state.supervisor.is_alive


def test_status_where_nothing_runs_is_exit_code_3(penstock: Run, state_dir: Path) -> None:
    """Scripts ask by it."""
    status = penstock("status", "--json")
    assert (status.returncode, status.stdout) == (3, "")
    assert status.stderr == f"error: nothing runs from {state_dir}; start it with `penstock up`\n"


def test_down_where_nothing_runs_is_fine(penstock: Run, state_dir: Path) -> None:
    """Clean-up scripts run it to be sure."""
    down = penstock("down")
    assert (down.returncode, down.stdout) == (0, f"nothing was running from {state_dir}\n")


def test_status_shows_a_gateway_that_cannot_be_reached(penstock: Run, model: Path, state_dir: Path) -> None:
    """Health is asked of the process, not read from the record."""
    penstock("up", "--detach", "--model", str(model), *ANY_PORTS)
    state = running_stack(StateDir(state_dir))
    gateway = next(service.process for service in state.services if service.name == "gateway")
    assert gateway is not None
    os.kill(state.supervisor.pid, signal.SIGSTOP)  # nobody starts it again meanwhile
    gateway.send(signal.SIGKILL)
    gateway.wait(10)
    report = json.loads(penstock("status", "--json").stdout)
    os.kill(state.supervisor.pid, signal.SIGCONT)
    assert report["is_serving"] is False
    assert {service["name"]: service["health"] for service in report["services"]}["gateway"] == "unreachable"


def test_start_that_fails_is_one_line_and_leaves_nothing(penstock: Run, model: Path, state_dir: Path) -> None:
    """The reason is the service's own, and the exit code is for scripts."""
    up = penstock("up", "--detach", "--model", str(model), *ANY_PORTS, worker={"say": "error: no memory for this"})
    assert (up.returncode, up.stderr) == (1, "error: worker ended with exit code 1: error: no memory for this\n")
    assert penstock("status").returncode == 3


def test_restart_shows_what_runs_now(penstock: Run, model: Path, state_dir: Path) -> None:
    """The new process serves when the command returns."""
    penstock("up", "--detach", "--model", str(model), *ANY_PORTS)
    before = running_stack(StateDir(state_dir)).service("gateway")
    restart = penstock("restart", "gateway")
    after = running_stack(StateDir(state_dir)).service("gateway")
    assert before.process is not None
    assert after.process is not None
    assert restart.returncode == 0, restart.stderr
    assert restart.stdout.endswith(f"s: pid {before.process.pid} -> {after.process.pid}, at {after.address}\n")
    assert penstock("generate", "What is the capital of France?").stdout == "Paris.\n"
    unknown = penstock("restart", "gatway")
    assert (unknown.returncode, unknown.stderr) == (
        1,
        "error: no service 'gatway'; there are: cache, tokenizer, worker, gateway\n",
    )


def test_restart_where_nothing_runs_is_exit_code_3(penstock: Run, state_dir: Path) -> None:
    """There is nothing to restart, and scripts see it."""
    restart = penstock("restart", "gateway")
    assert (restart.returncode, restart.stderr) == (
        3,
        f"error: nothing runs from {state_dir}; start it with `penstock up`\n",
    )


def test_status_and_log_show_a_service_that_dies_again_and_again(penstock: Run, model: Path, state_dir: Path) -> None:
    """What it died of, how often, and when it is tried again: the first three questions."""
    penstock("up", "--detach", "--model", str(model), *ANY_PORTS, cache={"starts_once": True})
    cache = running_stack(StateDir(state_dir)).service("cache")
    assert cache.process is not None
    cache.process.send(signal.SIGKILL)
    while (told := _status_of(penstock, "cache"))["restarts"] < 4:
        assert told["health"] in ("serving", "unreachable")
    assert told["detail"] == "ended with exit code 1: error: once was enough"
    if told["next_try_s"] is None:
        assert told["stage"] == "starting"
    else:
        assert (told["stage"], 0 <= told["next_try_s"] <= 30) == ("restarting", True)
    log = (state_dir / "logs" / "supervisor.log").read_text()
    assert "cache was killed by SIGKILL; starting it again in 0.5 s" in log
    assert "cache ended with exit code 1: error: once was enough; starting it again in 1.0 s" in log


def _status_of(penstock: Run, name: str) -> dict[str, Any]:
    services = json.loads(penstock("status", "--json").stdout)["services"]
    return next(service for service in services if service["name"] == name)


def test_killed_foreground_up_leaves_nothing(model: Path, state_dir: Path) -> None:
    """A closed terminal or the out-of-memory killer must not leave half a stack."""
    arguments = [*PENSTOCK, "up", "--model", str(model), "--state-dir", str(state_dir), *ANY_PORTS]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, text=True, env=fake_environment(worker={"leaves_daemon": True})
    ) as process:
        assert process.stdout is not None
        assert any(line == "Stop it: Ctrl-C\n" for line in iter(process.stdout.readline, ""))
        state = running_stack(StateDir(state_dir))
        (daemon,) = (line for line in (state_dir / "events").read_text().splitlines() if "daemon" in line)
        left = [ProcessId.of(int(daemon.split()[-1])), *(service.process for service in state.services)]
        process.kill()
        assert [found is not None and found.wait(20) for found in left] == [True] * 5


def test_directory_without_a_checkpoint_is_one_line(penstock: Run, tmp_path: Path) -> None:
    """It is told before anything starts."""
    up = penstock("up", "--detach", "--model", str(tmp_path))
    assert up.returncode == 1
    assert up.stderr == (
        f"error: no checkpoint at {tmp_path}: it has no config.json; give a Hugging Face model directory\n"
    )


def test_logs_are_shown_by_service(penstock: Run, model: Path) -> None:
    """The reason of a failed start can be read afterwards."""
    penstock("up", "--detach", "--model", str(model), *ANY_PORTS, worker={"say": "first\nlast"})
    assert penstock("logs", "worker", "-n", "1").stdout == "last\n"
    assert "worker     last\n" in penstock("logs").stdout
    unknown = penstock("logs", "nothing")
    assert (unknown.returncode, unknown.stderr) == (
        1,
        "error: no log of 'nothing'; there are: cache, gateway, supervisor, tokenizer, worker\n",
    )


def test_logs_can_be_followed(penstock: Run, state_dir: Path) -> None:
    """New lines come as they are written, also after the log has begun anew."""
    log = state_dir / "logs" / "gateway.log"
    log.parent.mkdir(parents=True)
    log.write_text("old\n")
    arguments = [*PENSTOCK, "logs", "gateway", "--follow", "--state-dir", str(state_dir)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "old\n"
        with log.open("a") as file:
            file.write("new\n")
        assert process.stdout.readline() == "new\n"
        log.write_text("anew\n")
        assert process.stdout.readline() == "anew\n"
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130


def test_foreground_stays_until_ctrl_c_and_drains(model: Path, state_dir: Path) -> None:
    """One terminal is enough for a first try, and nothing stays behind."""
    arguments = [*PENSTOCK, "up", "--model", str(model), "--state-dir", str(state_dir), *ANY_PORTS]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, text=True, env=fake_environment(), start_new_session=True
    ) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        assert any(line == "Stop it: Ctrl-C\n" for line in lines)
        state = running_stack(StateDir(state_dir))
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
        assert [*lines][-1] == "stopped\n"
        assert process.wait() == 0
    assert not any(service.process and service.process.is_alive for service in state.services)
    events = (state_dir / "events").read_text().splitlines()
    assert events.index("gateway stopped") < events.index("worker stopping")


def test_ctrl_c_while_a_detached_stack_starts_stops_it(model: Path, state_dir: Path) -> None:
    """Who gives up waiting does not want it later."""
    arguments = [*PENSTOCK, "up", "--detach", "--model", str(model), "--state-dir", str(state_dir), *ANY_PORTS]
    environment = fake_environment(gateway={"is_ready": False})
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert "ready at" in process.stdout.readline()
        state = running_stack(StateDir(state_dir))
        process.send_signal(signal.SIGINT)
        process.communicate()
        assert process.returncode == 130
    assert not state.supervisor.is_alive
    assert not StateDir(state_dir).stack_file.exists()
