"""A connection that says nothing but that both sides live."""

import threading
from collections.abc import Callable

from penstock_worker.parallel.connection import Connection, ConnectionLostError, Kind

BEAT_INTERVAL_S = 0.5
# As long as a replica may spend on a step: a core that is given to others for seconds is no dead process.
SILENCE_LIMIT_S = 3.0


class Lifeline:
    """Says that this process lives, and hears whether the other one does. A process that is killed is missed at once.

    Args:
        connection: to the other process; nothing else is said on it.
        on_loss: told why, once, in a thread of its own, when the other process is gone or silent. Not after `close`.
        interval_s: between two beats.
        silence_limit_s: after which silence means a process that hangs.
    """

    def __init__(
        self,
        connection: Connection,
        on_loss: Callable[[str], None],
        *,
        interval_s: float = BEAT_INTERVAL_S,
        silence_limit_s: float = SILENCE_LIMIT_S,
    ) -> None:
        self._connection = connection
        self._on_loss = on_loss
        self._interval_s = interval_s
        self._closed = threading.Event()
        connection.set_timeout(silence_limit_s)
        self._threads = [
            threading.Thread(target=work, name=f"lifeline-{work.__name__}", daemon=True)
            for work in (self._beat, self._listen)
        ]

    def start(self) -> None:
        """Starts both threads."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Ends it on purpose: the other side hears a loss, this one nothing."""
        self._closed.set()
        self._connection.close()
        for thread in self._threads:
            thread.join()

    def _beat(self) -> None:
        try:
            while not self._closed.wait(self._interval_s):
                self._connection.send(Kind.BEAT)
        except ConnectionLostError:
            pass  # whoever listens says so

    def _listen(self) -> None:
        try:
            while True:
                self._connection.receive()
        except ConnectionLostError as error:
            if not self._closed.is_set():
                self._on_loss(str(error))
