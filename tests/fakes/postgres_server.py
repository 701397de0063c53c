"""A real Postgres with pgvector, from the package pgserver."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pgserver
import psutil
import psycopg
from pgserver import _commands


class PostgresServer:
    """A running server that can be stopped and started again."""

    def __init__(self, directory: Path) -> None:
        self._server = pgserver.get_server(directory)
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")  # no test cuts the power
            connection.execute("SELECT pg_reload_conf()")

    @property
    def url(self) -> str:
        """Of its database, over a socket in the file system."""
        return str(self._server.get_uri())

    def stop(self) -> None:
        """Ends it, with all connections."""
        self._control("-m", "fast", "stop")

    def start(self) -> None:
        """Starts it again, where it was."""
        self._server.ensure_postgres_running()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Inside, all of it stands still: connections are there, and nothing answers."""
        pid = int((self._server.pgdata / "postmaster.pid").read_text().splitlines()[0])
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                process.resume()

    def close(self) -> None:
        """Ends it for good."""
        self._server.cleanup()

    def _control(self, *command: str) -> None:
        _commands.pg_ctl(["-w", *command], pgdata=self._server.pgdata, user=self._server.system_user)


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A server of one's own."""
    # Not below pytest's own folder: root may not run Postgres, and another user may not read there.
    with tempfile.TemporaryDirectory(prefix="penstock-postgres-") as directory:
        server = PostgresServer(Path(directory) / "data")
        try:
            yield server
        finally:
            server.close()
