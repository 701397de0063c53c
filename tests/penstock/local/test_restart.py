"""Restarting one service on request, with real processes: `penstock restart` and the supervisor behind it."""

import os
import signal
import socket
from pathlib import Path

import pytest
from fakes.local_stack import LocalStack, restarting, service

from penstock.local.errors import LocalError
from penstock.local.paths import StateDir
from penstock.local.requests import ask_restart
from penstock.local.state import StackState, Stage


def ask(state_dir: Path, name: str) -> None:
    """Asks and waits for the answer."""
    ask_restart(StateDir(state_dir).socket_file, name, timeout_s=120)


@pytest.mark.parametrize("name", ["gateway", "cache", "tokenizer", "worker"])
def test_restarted_service_has_drained_and_serves_again(tmp_path: Path, name: str) -> None:
    """An operator who changed a setting of one service need not stop the others."""
    with LocalStack(tmp_path) as stack:
        before = stack.until_ready()
        answer = restarting(stack, name)
        stack.until(lambda state: service(state, name).stage is Stage.STOPPING)
        after = stack.until(lambda state: is_new(state, before, name) and state.can_serve)
        assert answer.result(60) is None
        asked, *others = sorted(after.services, key=lambda found: found.name != name)
        assert (asked.num_restarts, asked.detail, asked.address) == (
            0,
            "restarted on request",
            service(before, name).address,
        )
        assert [other.process for other in others] == [service(before, other.name).process for other in others]
        noted = [line for line in stack.events() if line.startswith(name)]
        assert noted == [f"{name} started", f"{name} stopping", f"{name} stopped", f"{name} started"]


def is_new(state: StackState, before: StackState, name: str) -> bool:
    """Whether another process has taken over."""
    return service(state, name).process not in (None, service(before, name).process)


def test_worker_is_back_when_its_replicas_are(tmp_path: Path) -> None:
    """A fleet that listens and has nobody to work does not serve; its old replicas went with it."""
    with LocalStack(tmp_path) as stack:
        before = stack.until_ready()
        answer = restarting(stack, "worker")
        gone = stack.until(lambda state: service(state, "worker").process is None)
        assert (gone.replicas, gone.can_serve) == ((), False)
        stack.until(lambda state: is_new(state, before, "worker") and len(state.replicas) == 2)
        assert answer.result(60) is None


def test_restarted_service_that_dies_is_told(tmp_path: Path) -> None:
    """A bad new setting must come back to whoever set it, with the service's own words; and is tried again."""
    with LocalStack(tmp_path, behaviours={"gateway": {"starts_once": True}}) as stack:
        stack.until_ready()
        with pytest.raises(LocalError) as raised:
            ask(tmp_path, "gateway")
        assert str(raised.value) == (
            "gateway ended with exit code 1: error: once was enough; "
            "it is started again and again, see `penstock status`"
        )
        dead = stack.until(lambda state: service(state, "gateway").stage is Stage.RESTARTING)
        told = service(dead, "gateway")
        assert told.next_try_at is not None
        assert told.next_try_at > told.since


def test_restart_does_not_wait_for_the_back_off(tmp_path: Path) -> None:
    """Whoever has just mended the cause does not want to wait for the next try."""
    with LocalStack(tmp_path, behaviours={"gateway": {"starts_once": True}}) as stack:
        gateway = service(stack.until_ready(), "gateway")
        assert gateway.process is not None
        gateway.process.send(signal.SIGKILL)
        waiting = stack.until(lambda state: service(state, "gateway").num_restarts == 5)  # then it waits for 8 s
        answer = restarting(stack, "gateway")
        tried = stack.until(lambda state: service(state, "gateway").stage is Stage.STARTING)
        next_try_at = service(waiting, "gateway").next_try_at
        assert next_try_at is not None
        assert service(tried, "gateway").since < next_try_at
        assert service(tried, "gateway").next_try_at is None
        assert isinstance(answer.exception(60), LocalError)


def test_unknown_service_is_refused(tmp_path: Path) -> None:
    """A slip of the keyboard, answered with what there is."""
    with LocalStack(tmp_path) as stack:
        stack.until_ready()
        with pytest.raises(LocalError, match=r"^no service 'gatway'; there are: cache, tokenizer, worker, gateway$"):
            ask(tmp_path, "gatway")


def test_stack_that_is_not_ready_is_refused(tmp_path: Path) -> None:
    """It would be mistaken for a service that failed to start."""
    with LocalStack(tmp_path, behaviours={"gateway": {"is_ready": False}}) as stack:
        stack.until(lambda state: service(state, "cache").stage is Stage.READY)
        with pytest.raises(LocalError, match=r"^the stack is starting; services can be restarted once it is ready$"):
            ask(tmp_path, "cache")


def test_one_at_a_time(tmp_path: Path) -> None:
    """Two at once would wait for each other's services."""
    with LocalStack(tmp_path, behaviours={"gateway": {"ignores_sigterm": True}}) as stack:
        stack.until_ready()
        first = restarting(stack, "gateway")
        stack.until(lambda state: service(state, "gateway").stage is Stage.STOPPING)
        with pytest.raises(LocalError, match=r"^gateway is being restarted; one at a time$"):
            ask(tmp_path, "cache")
        assert not first.done()


def test_stack_that_is_stopped_meanwhile_ends_the_wait(tmp_path: Path) -> None:
    """Nobody may hang on a socket that nobody answers."""
    with LocalStack(tmp_path, behaviours={"gateway": {"ignores_sigterm": True}}) as stack:
        stack.until_ready()
        answer = restarting(stack, "gateway")
        stack.until(lambda state: service(state, "gateway").stage is Stage.STOPPING)
        stack.process.kill()
        assert str(answer.exception(60)) == "the stack was stopped before gateway served again"


def test_socket_is_its_owners_alone_and_gone_at_the_end(tmp_path: Path) -> None:
    """Whoever can open it can stop a service. A long path, as temporary directories have, is no obstacle."""
    state_dir = tmp_path / ("long" * 30)
    with LocalStack(state_dir) as stack:
        stack.until_ready()
        path = StateDir(state_dir).socket_file
        assert path.stat().st_mode & 0o777 == 0o600
        ask(state_dir, "cache")
        assert stack.stop() == 0
        assert not path.exists()


def test_words_that_are_no_request_are_answered(tmp_path: Path) -> None:
    """A command of another version, or a stray connection, must not hurt the supervisor."""
    with LocalStack(tmp_path) as stack:
        stack.until_ready()
        for words in (b"hello\n", b"[]\n", b"{}\n", b"x" * 10_000 + b"\n", b"\xff\n"):
            with socket.socket(socket.AF_UNIX) as connection:
                directory = os.open(tmp_path, os.O_PATH)
                connection.connect(f"/proc/self/fd/{directory}/control.sock")
                os.close(directory)
                connection.sendall(words)
                assert b"not understood" in connection.makefile("rb").readline()
        ask(tmp_path, "cache")
