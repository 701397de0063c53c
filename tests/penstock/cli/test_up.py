"""What `penstock up` says when the stack is ready."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from penstock.cli.errors import CommandError
from penstock.cli.up import run_up, welcome
from penstock.local.plan import Addresses
from penstock.local.ports import Ports
from penstock.local.process_id import ProcessId
from penstock.local.settings import StackSettings
from penstock.local.state import Phase, StackState

OPEN = "lets everybody on it in"
CLOSED = "Clients must show who they are"


@pytest.fixture
def settings(tmp_path: Path) -> StackSettings:
    """Of a stack in a directory of the test's own."""
    return StackSettings(state_dir=tmp_path, model_dir=tmp_path, model_name="tiny")


def ready_text(settings: StackSettings) -> str:
    """All that is said when it can serve."""
    state = StackState(
        phase=Phase.READY,
        supervisor=ProcessId(1, "a boot 1"),
        started_at=time.time(),
        model_name="tiny",
        model_dir="/models/tiny",
        num_replicas=1,
        addresses=Addresses.on_loopback(Ports(1, 2, 3, 4, 5)),
    )
    return welcome(state, settings, detached=True)


def said(settings: StackSettings) -> str:
    """What is said of the doors: the one that is right, and not the other."""
    text = ready_text(settings)
    return " ".join(line for line in (OPEN, CLOSED) if line in text)


def test_a_stack_without_keys_says_that_it_is_open(settings: StackSettings) -> None:
    """Nobody shall believe that it asks for anything."""
    assert said(settings) == OPEN


def test_a_stack_that_asks_who_calls_does_not_say_that_it_is_open(
    settings: StackSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By a client authority, by tokens, or by keys wherever they lie."""
    assert said(replace(settings, tls_client_ca=Path("/ca.pem"))) == CLOSED
    monkeypatch.setenv("PENSTOCK_GATEWAY_JWKS_FILE", "/jwks.json")
    assert said(settings) == CLOSED
    monkeypatch.delenv("PENSTOCK_GATEWAY_JWKS_FILE")
    monkeypatch.setenv("PENSTOCK_GATEWAY_KEYS_FILE", str(tmp_path / "elsewhere.json"))
    assert said(settings) == OPEN
    (tmp_path / "elsewhere.json").touch()
    assert said(settings) == CLOSED
    monkeypatch.delenv("PENSTOCK_GATEWAY_KEYS_FILE")
    (tmp_path / "keys.json").touch()
    assert said(settings) == CLOSED


@pytest.mark.parametrize(
    ("on_path", "typed", "shown"),
    [
        ("/usr/bin/penstock", ".venv/bin/penstock", "penstock"),
        (None, ".venv/bin/penstock", ".venv/bin/penstock"),
        (None, "/my tools/penstock", "'/my tools/penstock'"),
        (None, "/lib/penstock/__main__.py", "penstock"),
    ],
)
def test_what_to_try_is_written_as_the_readers_shell_finds_it(
    settings: StackSettings, monkeypatch: pytest.MonkeyPatch, on_path: str | None, typed: str, shown: str
) -> None:
    """After `make up` no venv is active: a bare `penstock` would not be found."""
    monkeypatch.setattr("shutil.which", lambda name: on_path)
    monkeypatch.setattr("sys.argv", [typed, "up"])
    lines = ready_text(settings).splitlines()
    option = f" --state-dir {settings.state_dir}"
    assert [line for line in lines if option in line] == [
        f"Ask for keys instead: {shown} keys create --tenant NAME{option}",
        f'  {shown} generate "What is the capital of France?"{option}',
        f"  {shown} status{option}",
        f"Stop it: {shown} down{option}",
    ]


def test_certificates_for_several_machines_are_refused(
    settings: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The services would take them over, and wait for each other until the start has timed out."""
    monkeypatch.setenv("PENSTOCK_INNER_TLS_CA_FILE", "/ca.pem")
    with pytest.raises(CommandError, match=r"^PENSTOCK_INNER_TLS_CA_FILE is set; .*unset it$"):
        run_up(settings, detach=True)
