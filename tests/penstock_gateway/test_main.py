"""The process: what it imports, how it starts and ends."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.gateway_deployment import MODEL, Deployment, StartDeployment

from penstock_gateway.__main__ import Gateway
from penstock_shared.tracing import Tracer


def test_the_gateway_needs_neither_torch_nor_transformers_nor_ray() -> None:
    """Its image has none of them, and its start would take seconds."""
    program = (
        "import sys, penstock_gateway.__main__\n"
        "print([name for name in ('torch', 'transformers', 'ray', 'penstock_worker') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PENSTOCK_GATEWAY_MAX_REQUESTS", "0"),
        ("PENSTOCK_GATEWAY_BIND", "nowhere"),
        ("PENSTOCK_GATEWAY_MAX_INPUT_BYTES", "1000000000"),
        ("PENSTOCK_GATEWAY_CACHE_MAX_ERROR_RATE", "1.01"),
        ("PENSTOCK_GATEWAY_CACHE_MAX_ERROR_RATE_BY_MODEL", "0.1"),
        ("PENSTOCK_GATEWAY_CACHE_MAX_ERROR_RATE_BY_MODEL", "pocket=2"),
        ("PENSTOCK_FLEET_CREDENTIAL_FILE", "/nowhere/credential"),
    ],
)
def test_a_bad_setting_ends_the_start_with_one_line(variable: str, value: str) -> None:
    """The line names the variable or file, and the exit code is not 0."""
    environment = {"PATH": "", "PYTHONPATH": ":".join(sys.path), variable: value}
    done = subprocess.run(
        [sys.executable, "-m", "penstock_gateway"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert (variable if "CREDENTIAL" not in variable else value) in line


async def test_a_taken_port_is_said_in_one_line(deployment: Deployment) -> None:
    """A second gateway must not half-start."""
    settings = deployment.settings.model_copy(update={"bind": deployment.gateway.address})
    with pytest.raises(OSError, match="cannot listen"):
        async with Gateway(settings, Tracer("second")).running():
            pass


async def test_the_last_directory_serves_while_the_fleet_is_down(start: StartDeployment, tmp_path: Path) -> None:
    """A gateway that restarts during a fleet outage goes on with what it knew."""
    first = await start()
    await first.until((tmp_path / "directory.json").exists)
    await first.fleet.stop()
    again = Deployment(first.fleet, first.tokenizer, state_dir=tmp_path, settings={})
    async with again.running():
        await again.until_ready()
        assert (await again.complete("Hi")).choices[0].output.text == "Hello, world"
        assert [model.spec.name for model in again.gateway.models.served()] == [MODEL]


def test_a_signal_drains_and_ends_with_success(tmp_path: Path) -> None:
    """Whoever supervises it must tell a drain from a crash; neither fleet nor tokenizer need be there."""
    environment = {
        "PATH": "",
        "PYTHONPATH": ":".join(sys.path),
        "PENSTOCK_STATE_DIR": str(tmp_path),
        "PENSTOCK_GATEWAY_BIND": "127.0.0.1:0",
        "PENSTOCK_GATEWAY_HTTP_BIND": "127.0.0.1:0",
        "PENSTOCK_GATEWAY_ADMIN_BIND": "127.0.0.1:0",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock_gateway"], env=environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    lines = []
    while not lines or "listening" not in lines[-1]:
        lines.append(process.stderr.readline())
        assert lines[-1], f"it ended: {lines}"
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=20)
    assert process.returncode == 0, rest
    assert "Traceback" not in rest
