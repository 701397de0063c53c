"""Keeps one service running: starts it, follows its health, starts it again when it dies, stops it when asked."""

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from penstock.local.health import follow_health
from penstock.local.launch import KILL
from penstock.local.log_file import last_line
from penstock.local.plan import ProcessSpec
from penstock.local.process_id import ProcessId
from penstock.local.restarts import RestartBackOff
from penstock.local.state import ServiceState, Stage


class Service:
    """One service under supervision.

    Args:
        spec: what to run.
        log: where its output goes.
        on_change: told each new state.
        on_failed_start: told in one line why it ended before it was ever ready. It is not started again then.
    """

    def __init__(
        self,
        spec: ProcessSpec,
        *,
        log: Path,
        on_change: Callable[[ServiceState], None],
        on_failed_start: Callable[[str], None],
    ) -> None:
        self.spec = spec
        self.state = ServiceState(
            spec.name, spec.address, Stage.STARTING, time.time(), health_address=spec.health_address
        )
        self._log = log
        self._on_change = on_change
        self._on_failed_start = on_failed_start
        self._process: Process | None = None
        self._health: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._is_restarting = False
        self._wake = asyncio.Event()
        self._was_ready = False

    async def run(self) -> None:
        """Runs until `stop`, or until it fails to start."""
        back_off = RestartBackOff()
        while not self._is_stopping:
            began = time.monotonic()
            try:
                reason = self._reason(await self._run_once())
            except OSError as error:
                reason = f"cannot be started: {error.strerror} ({error.filename})"
            if self._is_stopping:
                break
            if self._is_restarting:
                self._set_gone(Stage.STARTING, detail="restarted on request")
            elif not self._was_ready:
                self._set_gone(Stage.STOPPED, detail=reason)
                self._on_failed_start(f"{self.spec.name} {reason}")
                return
            else:
                await self._back_off(reason, back_off.delay_s(ran_s=time.monotonic() - began))
        self._set_gone(Stage.STOPPED)

    async def stop(self, limit_s: float) -> None:
        """Asks it to drain, and kills it where it is not gone after `limit_s`."""
        self._is_stopping = True
        self._wake.set()
        await self._drain(limit_s)

    async def restart(self, limit_s: float) -> None:
        """The same, and then `run` starts it again, at once also where it is waiting to be."""
        self._is_restarting = True
        self._wake.set()
        await self._drain(limit_s)

    def kill(self) -> None:
        """Ends it, and all that it has started, at once."""
        self._is_stopping = True
        self._signal(KILL)

    async def _drain(self, limit_s: float) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        self._set(Stage.STOPPING)
        if self._health is not None:
            self._health.cancel()  # a server waits for its open streams before it ends
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), limit_s)
        except TimeoutError:
            self._signal(KILL)
            await process.wait()

    async def _run_once(self) -> int:
        self._set_gone(Stage.STARTING)
        process, pid = await self._spawn()
        self._process = process
        self._is_restarting = False
        self._set(Stage.STARTING, process=ProcessId.of(pid) if pid else None, started_at=time.time())
        if self._is_stopping:  # asked to stop while it was being started
            self._signal(signal.SIGTERM)
        self._health = asyncio.create_task(follow_health(self.spec.health_address, self._take_health))
        try:
            return await process.wait()
        finally:
            self._health.cancel()

    async def _spawn(self) -> tuple[Process, int | None]:
        """The service's launcher, and the pid of the service itself."""
        read_end, write_end = os.pipe()
        launcher = (sys.executable, "-P", "-m", "penstock.local.launch", str(os.getpid()), str(write_end))
        try:
            with self._log.open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *launcher,
                    *self.spec.command,
                    stdin=DEVNULL,
                    stdout=log,
                    stderr=STDOUT,
                    cwd=self._log.parent,
                    env={**os.environ, **self.spec.environment},
                    pass_fds=[write_end],
                    start_new_session=True,  # a Ctrl-C in the terminal is the supervisor's to handle, in order
                )
        finally:
            os.close(write_end)
        with os.fdopen(read_end) as pid:
            return process, int(await asyncio.to_thread(pid.read) or 0) or None

    def _take_health(self, is_serving: bool) -> None:
        if is_serving:
            self._was_ready = True
            self._set(Stage.READY)
        elif self.state.stage is Stage.READY:
            self._set(Stage.UNHEALTHY)

    def _set(self, stage: Stage, **changes: object) -> None:
        since = self.state.since if stage is self.state.stage else time.time()
        self.state = replace(self.state, stage=stage, since=since, **changes)  # type: ignore[arg-type]
        self._on_change(self.state)

    def _set_gone(self, stage: Stage, *, next_try_at: float | None = None, **changes: object) -> None:
        self._set(stage, process=None, started_at=None, next_try_at=next_try_at, **changes)

    def _reason(self, code: int) -> str:
        """How it ended; with its last words where it ended by itself."""
        how = describe_exit(code)
        words = last_line(self._log) if how.startswith("ended") else ""
        return f"{how}: {words}" if words else how

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def _back_off(self, reason: str, delay_s: float) -> None:
        self._wake.clear()
        num_restarts = self.state.num_restarts + 1
        self._set_gone(Stage.RESTARTING, next_try_at=time.time() + delay_s, detail=reason, num_restarts=num_restarts)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), delay_s)


def describe_exit(code: int) -> str:
    """How a service ended, in words, from its launcher's exit code (or minus the signal that killed the launcher)."""
    number = -code if code < 0 else code - 128
    if number <= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    return f"was killed by {name}"
