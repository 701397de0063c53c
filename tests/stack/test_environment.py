"""What the machine can do to a stack: one clear line with the way out, nothing left running; or it goes on."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from stack.running import RunningStack, free_ports, run_cli, running_stack

from penstock.local.paths import pocket_model_dir

_PATIENCE_S = 180


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A copy of the embedded model, to be broken."""
    files = [path for path in pocket_model_dir().iterdir() if path.suffix in {".json", ".jinja", ".safetensors"}]
    (tmp_path / "model").mkdir()
    for path in files:
        shutil.copy(path, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a file system here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk: Path) -> None:
    """Leaves no byte."""
    with (disk / "fill").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


def processes_of(state_dir: Path) -> list[psutil.Process]:
    """Whatever runs for the stack of that directory, Ray's daemons included: they inherit the variable."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PENSTOCK_STATE_DIR") == str(state_dir):
                found.append(process)
        except psutil.Error:
            continue
    return found


def failed_start(state_dir: Path, *arguments: str) -> str:
    """Why `penstock up` failed, in its one line; nothing of it is left."""
    up = run_cli(state_dir, "up", "--detach", "--replicas=1", *free_ports(), *arguments)
    assert up.returncode == 1, up.stdout
    assert up.stderr.count("\n") == 1, up.stderr
    assert processes_of(state_dir) == []
    assert run_cli(state_dir, "status").returncode == 3
    return up.stderr.removeprefix("error: ").strip()


def _long_header(model: Path) -> None:
    with (model / "model.safetensors").open("r+b") as file:
        file.write((1 << 60).to_bytes(8, "little"))


def _no_json_header(model: Path) -> None:
    with (model / "model.safetensors").open("r+b") as file:
        file.seek(8)
        file.write(b"garbage!")


def _cut_off(model: Path) -> None:
    with (model / "model.safetensors").open("r+b") as file:
        file.truncate(1_000_000)


def _no_tokenizer(model: Path) -> None:
    (model / "tokenizer.json").unlink()


def _half_a_config(model: Path) -> None:
    (model / "config.json").write_text('{"architectures": [')


def _unknown_architecture(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"architectures": ["GPT9ForCausalLM"]}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            _long_header,
            "model.safetensors: got 'its header is longer than the file'; allowed: a whole safetensors file",
        ),
        (
            _no_json_header,
            "model.safetensors: got 'Expecting value: line 1 column 1 (char 0)'; allowed: a whole safete",
        ),
        (_cut_off, "bytes are missing'; allowed: a whole safetensors file; copy it again"),
        (_no_tokenizer, "has no tokenizer.json; make one with transformers"),
        (_half_a_config, "config.json: got 'no JSON'; allowed: a JSON object"),
        (
            _unknown_architecture,
            "config.json architectures: got 'GPT9ForCausalLM'; allowed: a family of docs/models.md, ",
        ),
    ],
)
def test_broken_checkpoint_is_one_line(
    tmp_path: Path, checkpoint: Path, damage: Callable[[Path], None], words: str
) -> None:
    """A download that broke off is everyday; the line says which file and what of it."""
    damage(checkpoint)
    assert words in failed_start(tmp_path / "state", "--model", str(checkpoint))


def test_full_disk_at_the_start_is_one_line(small_disk: Path) -> None:
    """Before anything runs that would need the space."""
    fill(small_disk)
    state_dir = small_disk / "state"
    assert failed_start(state_dir) == (
        f"cannot write the state directory {state_dir}: No space left on device; "
        "mend that, or choose another with --state-dir"
    )


def test_read_only_state_directory_is_one_line(small_disk: Path) -> None:
    """Root may write everywhere but there."""
    state_dir = small_disk / "state"
    state_dir.mkdir()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert failed_start(state_dir) == (
        f"cannot write the state directory {state_dir}: Read-only file system ({state_dir}/logs); "
        "mend that, or choose another with --state-dir"
    )


@pytest.mark.timeout(600)
def test_disk_that_fills_up_stops_nothing(small_disk: Path) -> None:
    """Answers go on without being stored; a dead replica comes back; a service can be restarted."""
    with running_stack(small_disk / "state", "--replicas=1") as stack:
        fill(small_disk)
        with stack.client() as client:
            asked = [client.generate("Once upon", temperature=0, max_tokens=4).cache.outcome for _ in range(3)]
            assert asked == ["miss"] * 3
            (replica,) = stack.replicas()
            psutil.Process(replica.pid).kill()
            stack.wait_for_replicas(lambda found: found[0].pid != replica.pid and bool(found[0].address))
            restarted = stack.cli("restart", "gateway")
            assert restarted.returncode == 0, restarted.stderr
            assert client.generate("Once upon", temperature=0, max_tokens=4).text
        (small_disk / "fill").unlink()
        with stack.client() as client:
            client.generate("Once upon", temperature=0, max_tokens=4)
            _until(lambda: client.generate("Once upon", temperature=0, max_tokens=4).cache.outcome == "exact_hit")
        assert [service["restarts"] for service in stack.read_status()["services"]] == [0, 0, 0, 0]


@pytest.mark.timeout(600)
def test_dead_ray_is_replaced(tmp_path: Path) -> None:
    """Replicas that are neither placed nor restarted any more would be found out only when the last one is gone."""
    with running_stack(tmp_path, "--replicas=1") as stack:
        for number, name in enumerate(("raylet", "gcs_server"), start=1):
            daemon = _ray_process(_worker(stack)["pid"], name)
            daemon.kill()
            _until(lambda n=number: _worker(stack)["restarts"] == n and stack.read_status()["is_serving"])
            assert _worker(stack)["detail"].endswith(
                f"error: Ray's {name} (pid {daemon.pid}) died; a new start of the worker makes a new Ray"
            )
        with stack.client() as client:
            assert client.generate("Once upon", max_tokens=4).text


@pytest.mark.timeout(600)
def test_ray_that_dies_while_it_starts_is_one_line(tmp_path: Path) -> None:
    """The start waits for Ray no longer than Ray itself does."""
    with ThreadPoolExecutor(1) as executor:
        why = executor.submit(failed_start, tmp_path)
        _until((tmp_path / "stack.json").exists)
        _until(lambda: bool(_recorded_worker(tmp_path)))
        worker = _recorded_worker(tmp_path)
        _until(lambda: _ray_process(worker, "raylet") is not None)
        _ray_process(worker, "raylet").kill()
        assert why.result().startswith("worker ended with exit code 1: error: Ray")


def _recorded_worker(state_dir: Path) -> int:
    """The worker's pid; 0 where it has none yet."""
    services = json.loads((state_dir / "stack.json").read_text())["services"]
    processes = [service["process"] for service in services if service["name"] == "worker"]
    return processes[0]["pid"] if processes and processes[0] else 0


def _ray_process(worker: int, name: str) -> Any:
    """One of the daemons that the worker has started; None where there is none."""
    return next((child for child in psutil.Process(worker).children() if child.name() == name), None)


def _worker(stack: RunningStack) -> dict[str, Any]:
    return next(service for service in stack.read_status()["services"] if service["name"] == "worker")


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)  # for processes that tell nobody what they do
