"""What `penstock up` says when the stack is ready."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from penstock.cli.up import welcome
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


def said(settings: StackSettings) -> str:
    """What is said of the doors: the one that is right, and not the other."""
    state = StackState(
        phase=Phase.READY,
        supervisor=ProcessId(1, "a boot 1"),
        started_at=time.time(),
        model_name="tiny",
        model_dir="/models/tiny",
        num_replicas=1,
        addresses=Addresses.on_loopback(Ports(1, 2, 3, 4, 5)),
    )
    text = welcome(state, settings, detached=True)
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
