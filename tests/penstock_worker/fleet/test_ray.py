"""The whole worker on a real Ray: it heals, stays on loopback, and leaves nothing behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from queue import Queue

import grpc
import psutil
import pytest
from fakes.checkpoints import save_checkpoint
from fakes.gateway_session import GatewaySession, group

from penstock_shared.directory import Directory, DirectoryWatcher, ReplicaState
from penstock_shared.fingerprint import tokenizer_fingerprint

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]
START_TIMEOUT_S = 90
END_TIMEOUT_S = 30


class Worker:
    """`python -m penstock_worker` with two replicas of a tiny checkpoint, on a port that the system chooses."""

    def __init__(self, model_dir: Path, state_dir: Path) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "RAY_"))}
        environment = inherited | {
            "PENSTOCK_STATE_DIR": str(state_dir),
            "PENSTOCK_LOG_JSON": "1",
            "PENSTOCK_WORKER_MODEL_DIR": str(model_dir),
            "PENSTOCK_WORKER_MODEL_NAME": "tiny",
            "PENSTOCK_WORKER_REPLICAS": "2",
            "PENSTOCK_WORKER_FLEET_BIND": "127.0.0.1:0",
        }
        self.model_dir = model_dir
        self._errors: list[str] = []
        self._killed: list[psutil.Process] = []
        self._addresses: Queue[str] = Queue()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "penstock_worker"], env=environment, stderr=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()

    @property
    def family(self) -> list[psutil.Process]:
        """The process and all that descend from it."""
        process = psutil.Process(self.process.pid)
        return [process, *process.children(recursive=True)]

    def named(self, part: str) -> list[psutil.Process]:
        """Descendants whose command line starts with `part`."""
        return [each for each in self.family[1:] if " ".join(each.cmdline()).startswith(part)]

    def address(self) -> str:
        """Where the fleet listens, as soon as it does."""
        return self._addresses.get(timeout=START_TIMEOUT_S)

    def error(self) -> str:
        """The one line that it ended with."""
        self._reader.join()
        (line,) = self._errors
        return line

    def kill(self) -> None:
        """SIGKILL to the driver alone."""
        self._killed = self.family
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Leaves nothing, whatever has happened. After a SIGKILL Ray's two agents would go only in a minute."""
        if self.process.poll() is None:
            self.kill()
        for each in self._killed:
            with suppress(psutil.NoSuchProcess):
                each.kill()

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line.startswith("error: "):
                self._errors.append(line.strip())
            if line.startswith("{"):
                event = json.loads(line)
                if event["event"] == "listening":
                    self._addresses.put(event["address"])


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama; its tokenizer is only fingerprinted."""
    directory = save_checkpoint("llama", tmp_path_factory.mktemp("llama"))
    (directory / "tokenizer.json").write_text("{}")
    return directory


@contextmanager
def running(model_dir: Path, state_dir: Path) -> Iterator[Worker]:
    """A worker that is gone at the end."""
    worker = Worker(model_dir, state_dir)
    try:
        yield worker
    finally:
        worker.end()


class Watch:
    """What a gateway sees of the fleet."""

    def __init__(self) -> None:
        self.seen: asyncio.Queue[Directory] = asyncio.Queue()

    async def until(self, *states: ReplicaState) -> Directory:
        """The next directory whose replicas are in these states, in any order."""
        while True:
            directory = await asyncio.wait_for(self.seen.get(), START_TIMEOUT_S)
            if sorted(replica.state for replica in directory.replicas) == sorted(states):
                return directory


@asynccontextmanager
async def watching(address: str) -> AsyncIterator[Watch]:
    """Follows the directory of the fleet at `address`."""
    watch = Watch()
    async with grpc.aio.insecure_channel(address) as channel:
        watcher = DirectoryWatcher(channel, on_change=watch.seen.put_nowait)
        task = asyncio.create_task(watcher.run())
        yield watch
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def session_with(address: str, model_dir: Path) -> AsyncIterator[GatewaySession]:
    """A session with the replica at `address`."""
    async with grpc.aio.insecure_channel(address) as channel:
        yield await GatewaySession(channel).open(tokenizer_fingerprint(model_dir))


def has_torch(process: psutil.Process) -> bool:
    """Whether torch's library is mapped."""
    return "libtorch" in Path(f"/proc/{process.pid}/maps").read_text()


READY, RESTARTING = ReplicaState.READY, ReplicaState.RESTARTING


async def test_the_worker_heals_and_ends_without_a_trace(model_dir: Path, tmp_path: Path) -> None:
    """One long story, because a start takes seconds.

    A replica is killed: it comes back, and the other one's stream goes on. The fleet is killed: it finds its living
    replicas again. Nothing listens beyond loopback; only replicas hold torch; after SIGTERM nothing is left.
    """
    with running(model_dir, tmp_path) as worker:
        async with watching(worker.address()) as watch:
            first = await watch.until(READY, READY)
            victim, other = first.replicas
            async with session_with(other.address, model_dir) as session:
                await session.submit(group(1, max_tokens=400))
                os.kill(victim.pid, signal.SIGKILL)
                gone = await watch.until(RESTARTING, READY)
                assert [replica.address for replica in gone.replicas] == ["", other.address]
                assert len((await session.read_ends([1]))[1].token_ids) == 400
            back = await watch.until(READY, READY)
            assert back.replicas[0].incarnation != victim.incarnation
            assert back.replicas[0].address != victim.address
            assert (back.replicas[0].num_restarts, back.replicas[1]) == (1, other)
            async with session_with(back.replicas[0].address, model_dir) as session:
                await session.submit(group(1, max_tokens=3))
                await session.read_ends([1])

            (fleet,) = worker.named("ray::FleetActor")
            fleet.kill()
            adopted = await watch.until(READY, READY)
            assert adopted.version > back.version
            assert [replica.incarnation for replica in adopted.replicas] == [
                replica.incarnation for replica in back.replicas
            ]

        assert_only_loopback(worker)
        assert [has_torch(each) for each in worker.named("ray::ReplicaActor")] == [True, True]
        assert [has_torch(each) for each in [worker.family[0], *worker.named("ray::FleetActor")]] == [False, False]

        family = worker.family
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(END_TIMEOUT_S) == 0
        assert psutil.wait_procs(family, timeout=END_TIMEOUT_S)[1] == []


def assert_only_loopback(worker: Worker) -> None:
    """Ray's control plane and our servers are not to be reached from outside."""
    listening = [
        connection.laddr.ip
        for process in worker.family
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 5
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


async def test_replicas_do_not_outlive_a_killed_driver(model_dir: Path, tmp_path: Path) -> None:
    """Not even `kill -9` leaves a model in memory."""
    with running(model_dir, tmp_path) as worker:
        async with watching(worker.address()) as watch:
            await watch.until(READY, READY)
        actors = worker.named("ray::ReplicaActor") + worker.named("ray::FleetActor")
        assert len(actors) == 3
        worker.kill()
        assert psutil.wait_procs(actors, timeout=END_TIMEOUT_S)[1] == []


def test_a_model_that_no_replica_can_load_ends_the_worker_with_its_reason(model_dir: Path, tmp_path: Path) -> None:
    """Tensors of other shapes are found only by loading: still one line and exit code 1, no crash loop."""
    config = json.loads((model_dir / "config.json").read_text())
    for file in model_dir.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps(config | {"hidden_size": 128, "head_dim": 16}))
    with running(tmp_path, tmp_path / "state") as worker:
        assert worker.process.wait(START_TIMEOUT_S) == 1
        assert "checkpoint tensors" in worker.error()
