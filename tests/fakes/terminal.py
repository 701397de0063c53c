"""A person at a terminal: a program behind a real pty, typed to and read."""

import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

# Numbers of select, pselect6, poll and ppoll on x86-64, and of pselect6 and ppoll on arm64.
_POLLING = ("23", "270", "7", "271", "72", "73")


class Terminal:
    """Runs a command with all three streams on a pty of its own; as a context manager, nothing of it is left.

    Args:
        command: to run.
        environment: of the process.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._screen, inner = pty.openpty()
        self.process = subprocess.Popen(
            command, stdin=inner, stdout=inner, stderr=inner, env=dict(environment), start_new_session=True
        )
        os.close(inner)
        self.shown = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._screen)

    def type(self, text: str) -> None:
        """Types the text and the return key."""
        os.write(self._screen, f"{text}\r".encode())

    def press_ctrl_d(self) -> None:
        """At an empty prompt: the end of the input."""
        os.write(self._screen, b"\x04")

    def interrupt(self) -> None:
        """What Ctrl-C does to a program in the foreground."""
        self.process.send_signal(signal.SIGINT)

    def until(self, text: str, timeout_s: float = 30.0) -> str:
        """Reads until `text` is shown, and gives all that was shown since the last call, `text` included."""
        deadline_s = time.monotonic() + timeout_s
        while text not in self.shown:
            ready, _, _ = select.select([self._screen], [], [], max(0.0, deadline_s - time.monotonic()))
            assert ready, f"{text!r} was not shown in {timeout_s} s, but: {self.shown!r}"
            self.shown += self._read()
        before, _, self.shown = self.shown.partition(text)
        return before + text

    def until_prompt(self) -> None:
        """Reads until a prompt is shown and its keys are waited for.

        Python notices Ctrl-C late where it comes between these two; a person is never that fast.
        """
        self.until("> ")
        system_call = Path(f"/proc/{self.process.pid}/syscall")
        while system_call.read_text().split()[0] not in _POLLING:
            os.sched_yield()

    def until_end(self, timeout_s: float = 30.0) -> int:
        """Waits for the end of the program and gives its exit code."""
        return self.process.wait(timeout_s)

    def _read(self) -> str:
        try:
            data = os.read(self._screen, 4096)
        except OSError:  # what Linux says when nobody holds the other side any more
            data = b""
        assert data, f"the program ended; it had shown: {self.shown!r}"
        return data.decode(errors="replace")
