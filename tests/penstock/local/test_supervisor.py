"""The supervisor with real processes: how a stack starts, stays up and ends."""

import os
import signal
from dataclasses import astuple, replace
from pathlib import Path

import pytest
from fakes.local_stack import LocalStack, service

from penstock.local.leftovers import end_leftovers
from penstock.local.paths import StateDir
from penstock.local.ports import Ports, is_free
from penstock.local.process_id import ProcessId
from penstock.local.record import load_state, save_state
from penstock.local.state import Phase, StackState, Stage

GONE_WITHIN_S = 20.0


def processes(state: StackState) -> list[ProcessId]:
    """The services' processes."""
    return [service.process for service in state.services if service.process is not None]


def test_ready_when_every_service_and_replica_is(tmp_path: Path) -> None:
    """`up` may say ready only when a request can be served."""
    with LocalStack(tmp_path) as stack:
        state = stack.until_ready()
        assert [(service.name, service.stage) for service in state.services] == [
            ("cache", Stage.READY),
            ("tokenizer", Stage.READY),
            ("worker", Stage.READY),
            ("gateway", Stage.READY),
        ]
        assert [(replica.replica_id, replica.stage) for replica in state.replicas] == [
            ("pocket-0", "ready"),
            ("pocket-1", "ready"),
        ]


def test_record_on_disk_is_what_was_told(tmp_path: Path) -> None:
    """`status`, `down` and `generate` find the stack by its record."""
    with LocalStack(tmp_path) as stack:
        state = stack.until_ready()
        assert load_state(StateDir(tmp_path).stack_file) == state
        assert state.supervisor.pid == stack.process.pid
        assert len(set(astuple(state.addresses))) == 6


def test_credential_is_its_owners_alone(tmp_path: Path) -> None:
    """Whoever can read it can speak as any tenant."""
    with LocalStack(tmp_path) as stack:
        stack.until_ready()
        assert StateDir(tmp_path).credential_file.stat().st_mode & 0o777 == 0o600


def test_drain_stops_the_gateway_before_what_it_needs(tmp_path: Path) -> None:
    """Streams that still run need cache, tokenizer and workers until the gateway is done with them."""
    with LocalStack(tmp_path) as stack:
        state = stack.until_ready()
        assert stack.stop() == 0
        assert stack.states[-1].phase is Phase.DRAINING
        events = stack.events()
        needed = ("cache", "tokenizer", "worker")
        assert events.index("gateway stopped") < min(events.index(f"{name} stopping") for name in needed)
        # Each came to its end by itself: nobody, the supervisor's own watches included, kept it from draining.
        assert {f"{name} stopped" for name in ("gateway", *needed)} <= set(events)
        assert not any(process.is_alive for process in processes(state))
        assert not StateDir(tmp_path).stack_file.exists()


def test_crashed_service_is_started_again(tmp_path: Path) -> None:
    """One dead process must not need an operator, and its death must be seen."""
    with LocalStack(tmp_path) as stack:
        before = service(stack.until_ready(), "tokenizer")
        assert before.process is not None
        before.process.send(signal.SIGKILL)
        died = stack.until(lambda state: service(state, "tokenizer").stage is Stage.RESTARTING)
        assert service(died, "tokenizer").detail == "was killed by SIGKILL"
        back = service(stack.until(lambda state: service(state, "tokenizer").stage is Stage.READY), "tokenizer")
        assert (back.num_restarts, back.address) == (1, before.address)
        assert back.process not in (None, before.process)


def test_killed_supervisor_leaves_nothing(tmp_path: Path) -> None:
    """Not even the out-of-memory killer may leave half a stack on the ports, or a daemon without its service."""
    with LocalStack(tmp_path, behaviours={"worker": {"leaves_daemon": True}}) as stack:
        left = [*processes(stack.until_ready()), daemon_of(stack)]
        stack.process.kill()
        assert [process.wait(GONE_WITHIN_S) for process in left] == [True] * 5


def test_start_after_a_killed_supervisor_succeeds(tmp_path: Path) -> None:
    """A stale record is recovered from by itself."""
    with LocalStack(tmp_path) as stack:
        stale = stack.until_ready()
        stack.process.kill()
    with LocalStack(tmp_path) as stack:
        assert stack.until_ready().supervisor != stale.supervisor


def test_daemon_of_a_service_does_not_outlive_the_stack(tmp_path: Path) -> None:
    """What a service started in a session of its own goes down too: `down` leaves no process."""
    with LocalStack(tmp_path, behaviours={"worker": {"leaves_daemon": True}}) as stack:
        stack.until_ready()
        daemon = daemon_of(stack)
        assert stack.stop() == 0
        assert not daemon.is_alive


def test_daemon_of_a_crashed_service_does_not_outlive_it(tmp_path: Path) -> None:
    """The restarted service must not meet its predecessor's children."""
    with LocalStack(tmp_path, behaviours={"worker": {"leaves_daemon": True}}) as stack:
        worker = service(stack.until_ready(), "worker")
        daemon = daemon_of(stack)
        assert worker.process is not None
        worker.process.send(signal.SIGKILL)
        stack.until(lambda state: service(state, "worker").stage is Stage.RESTARTING)
        assert not daemon.is_alive


def daemon_of(stack: LocalStack) -> ProcessId:
    """What the worker has started."""
    (line,) = (line for line in stack.events() if line.startswith("worker daemon"))
    found = ProcessId.of(int(line.split()[-1]))
    assert found is not None
    return found


def test_service_that_cannot_start_ends_the_stack_with_its_words(tmp_path: Path) -> None:
    """The operator reads the reason at once, not in a log."""
    behaviours = {"worker": {"say": "\x1b[31merror: model_dir: no config.json\x1b[0m"}}
    with LocalStack(tmp_path, behaviours=behaviours) as stack:
        assert stack.problem() == "worker ended with exit code 1: error: model_dir: no config.json"
        assert not any(process.is_alive for state in stack.states for process in processes(state))
        assert not StateDir(tmp_path).stack_file.exists()


def test_replica_that_failed_for_good_ends_the_start(tmp_path: Path) -> None:
    """Waiting for the time limit would hide the reason."""
    behaviours = {"worker": {"replica_state": "REPLICA_STATE_FAILED", "replica_detail": "out of memory"}}
    with LocalStack(tmp_path, behaviours=behaviours) as stack:
        assert stack.problem() == "replica pocket-0 failed: out of memory"


def test_stack_that_is_not_ready_in_time_is_stopped(tmp_path: Path) -> None:
    """A script that waits for `up` gets an answer, with what was missing."""
    with LocalStack(tmp_path, behaviours={"gateway": {"is_ready": False}}, start_timeout_s=2.0) as stack:
        problem = stack.problem()
        assert problem.startswith("not ready after 2 s; still waiting for ")
        assert "gateway (starting)" in problem
        assert not any(process.is_alive for state in stack.states for process in processes(state))


def test_second_stack_on_one_state_directory_is_refused(tmp_path: Path) -> None:
    """Two supervisors would fight over the record, and both would lose."""
    with LocalStack(tmp_path) as first:
        state = first.until_ready()
        with LocalStack(tmp_path) as second:
            assert second.problem().startswith(
                f"a stack already runs from {tmp_path} (pid {state.supervisor.pid}, "
                f"gateway at {state.addresses.gateway}); stop it with `penstock down`"
            )
        assert all(process.is_alive for process in processes(state))
        assert load_state(StateDir(tmp_path).stack_file) is not None


@pytest.mark.parametrize("name", Ports.__dataclass_fields__)
def test_taken_port_is_named_with_its_flag_before_anything_starts(
    tmp_path: Path, listening_port: int, name: str
) -> None:
    """The way out stands in the message."""
    with LocalStack(tmp_path, ports=replace(Ports(0, 0, 0, 0, 0, 0), **{name: listening_port})) as stack:
        assert stack.problem() == (
            f"port {listening_port} is taken; choose another with --{name}-port (0: any free one)"
        )
        assert stack.states == []


def test_second_signal_kills_what_does_not_drain(tmp_path: Path) -> None:
    """An operator in a hurry asks twice."""
    with LocalStack(tmp_path, behaviours={"gateway": {"ignores_sigterm": True}}) as stack:
        state = stack.until_ready()
        stack.process.send_signal(signal.SIGINT)
        stack.until(lambda state: state.phase is Phase.DRAINING)
        stack.process.send_signal(signal.SIGINT)
        stack.until_end()
        assert stack.process.wait() == 0
        assert not any(process.is_alive for process in processes(state))


def test_recycled_pid_in_a_stale_record_is_left_alone(tmp_path: Path) -> None:
    """The number of a dead service may belong to anybody by now; here, to this test."""
    with LocalStack(tmp_path) as stack:
        state = stack.until_ready()
        stack.stop()
    gateway = service(state, "gateway")
    recycled = state.with_service(replace(gateway, process=ProcessId(os.getpid(), "earlier")))
    save_state(StateDir(tmp_path).stack_file, recycled)
    assert end_leftovers(StateDir(tmp_path)) == []
    assert not StateDir(tmp_path).stack_file.exists()


def test_ports_are_free_again_after_a_stop(tmp_path: Path) -> None:
    """`down` and `up` in a row meet no taken port."""
    with LocalStack(tmp_path) as stack:
        state = stack.until_ready()
        port = int(state.addresses.gateway.rpartition(":")[2])
        assert not is_free(port)
        stack.stop()
        assert is_free(port)
