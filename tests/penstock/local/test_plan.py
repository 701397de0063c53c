"""What is decided before anything starts: processes, ports, model, delays."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from penstock.local.errors import LocalError
from penstock.local.paths import StateDir
from penstock.local.plan import Addresses, plan
from penstock.local.ports import Ports, resolve_ports
from penstock.local.restarts import RestartBackOff
from penstock.local.settings import StackSettings, choose_adapters, choose_model, choose_speculation

SETTINGS = StackSettings(
    state_dir=Path("/state"),
    model_dir=Path("/models/tiny"),
    model_name="tiny",
    num_replicas=3,
    tensor_parallel=2,
    device="cpu",
    dtype="float32",
    quantize="int8",
    speculate="prompt-lookup",
    is_deterministic=True,
    ports=Ports(1, 2, 5, 3, 4, 6),
    otlp_endpoint="http://127.0.0.1:4317",
)
ADDRESSES = Addresses.on_loopback(SETTINGS.ports)


def environments(settings: StackSettings) -> dict[str, dict[str, str]]:
    """Each process's own variables."""
    return {spec.name: dict(spec.environment) for spec in plan(settings, ADDRESSES)}


def test_every_service_is_told_where_the_others_are() -> None:
    """The variables are the contract between the supervisor and the services."""
    common = {
        "PENSTOCK_STATE_DIR": "/state",
        "PENSTOCK_FLEET_CREDENTIAL_FILE": "/state/fleet.credential",
        "PENSTOCK_OTLP_ENDPOINT": "http://127.0.0.1:4317",
    }
    assert environments(SETTINGS) == {
        "cache": {**common, "PENSTOCK_CACHE_BIND": "127.0.0.1:5"},
        "tokenizer": {
            **common,
            "PENSTOCK_TOKENIZER_BIND": "127.0.0.1:3",
            "PENSTOCK_TOKENIZER_MODELS": json.dumps({"tiny": "/models/tiny"}),
            "PENSTOCK_TOKENIZER_FLEET_ADDRESS": "127.0.0.1:4",
        },
        "worker": {
            **common,
            "PENSTOCK_WORKER_FLEET_BIND": "127.0.0.1:4",
            "PENSTOCK_WORKER_MODEL_DIR": "/models/tiny",
            "PENSTOCK_WORKER_MODEL_NAME": "tiny",
            "PENSTOCK_WORKER_REPLICAS": "3",
            "PENSTOCK_WORKER_TENSOR_PARALLEL": "2",
            "PENSTOCK_WORKER_PIPELINE_PARALLEL": "1",
            "PENSTOCK_WORKER_DEVICE": "cpu",
            "PENSTOCK_WORKER_DTYPE": "float32",
            "PENSTOCK_WORKER_QUANTIZE": "int8",
            "PENSTOCK_WORKER_SPECULATE": "prompt-lookup",
            "PENSTOCK_WORKER_DETERMINISTIC": "true",
        },
        "gateway": {
            **common,
            "PENSTOCK_GATEWAY_BIND": "127.0.0.1:1",
            "PENSTOCK_GATEWAY_HTTP_BIND": "127.0.0.1:2",
            "PENSTOCK_GATEWAY_ADMIN_BIND": "127.0.0.1:6",
            "PENSTOCK_GATEWAY_CACHE_ADDRESS": "127.0.0.1:5",
            "PENSTOCK_GATEWAY_TOKENIZER_ADDRESS": "127.0.0.1:3",
            "PENSTOCK_GATEWAY_FLEET_ADDRESS": "127.0.0.1:4",
        },
    }


def test_adapters_are_told_and_survive_the_command_line(tmp_path: Path) -> None:
    """A detached supervisor gets its settings as text."""
    (tmp_path / "adapter_config.json").write_text("{}")
    settings = replace(SETTINGS, adapters=choose_adapters([f"law={tmp_path}"]))
    assert StackSettings.from_json(settings.to_json()) == settings
    assert json.loads(environments(settings)["worker"]["PENSTOCK_WORKER_ADAPTERS"]) == {"law": str(tmp_path)}


@pytest.mark.parametrize("asked", ["law", "law=", "=/somewhere", "law=/nowhere"])
def test_adapter_that_is_not_there_is_refused(asked: str) -> None:
    """Before anything is started."""
    with pytest.raises(LocalError, match="NAME=DIR"):
        choose_adapters([asked])


def test_prefix_cache_is_switched_off_by_name() -> None:
    """Where nothing is said, the operator's own environment decides."""
    name = "PENSTOCK_WORKER_PREFIX_CACHE"
    assert name not in environments(SETTINGS)["worker"]
    assert environments(replace(SETTINGS, has_prefix_cache=False))["worker"][name] == "false"


def test_tls_files_reach_the_gateway_alone() -> None:
    """Its door for clients is the one that others reach."""
    settings = replace(SETTINGS, tls_cert=Path("/c.pem"), tls_key=Path("/k.pem"), tls_client_ca=Path("/ca.pem"))
    told = {
        service: {name: value for name, value in variables.items() if "TLS" in name}
        for service, variables in environments(settings).items()
    }
    assert told.pop("gateway") == {
        "PENSTOCK_GATEWAY_TLS_CERT_FILE": "/c.pem",
        "PENSTOCK_GATEWAY_TLS_KEY_FILE": "/k.pem",
        "PENSTOCK_GATEWAY_TLS_CLIENT_CA_FILE": "/ca.pem",
    }
    assert told == {"cache": {}, "tokenizer": {}, "worker": {}}
    assert StackSettings.from_json(settings.to_json()) == settings


def test_no_endpoint_means_no_variable() -> None:
    """A variable that the operator has set for all services must come through."""
    assert "PENSTOCK_OTLP_ENDPOINT" not in environments(replace(SETTINGS, otlp_endpoint=None))["gateway"]


def test_services_are_not_imported_from_the_current_directory() -> None:
    """A folder named penstock_gateway where the operator stands must not run in its place."""
    assert all(spec.command[1] == "-P" for spec in plan(SETTINGS, ADDRESSES))


def test_settings_survive_the_way_to_a_detached_supervisor() -> None:
    """A detached stack is the one that was asked for."""
    assert StackSettings.from_json(SETTINGS.to_json()) == SETTINGS


def test_zero_becomes_a_free_port_and_others_stay(closed_port: int) -> None:
    """Tests and second stacks need no port arithmetic."""
    resolved = resolve_ports(Ports(0, 0, 0, 0, 0, 0), random.Random(1))
    chosen = [resolved.gateway, resolved.http, resolved.cache, resolved.tokenizer, resolved.fleet]
    assert len(set(chosen)) == 5
    assert all(20_000 <= port < 32_000 for port in chosen)
    assert resolve_ports(resolved, random.Random(2)) == resolved


def test_taken_port_is_refused(listening_port: int) -> None:
    """The flag that mends it stands in the message."""
    with pytest.raises(LocalError, match=rf"port {listening_port} is taken; choose another with --fleet-port"):
        resolve_ports(Ports(0, 0, 0, 0, listening_port, 0), random.Random(1))


def test_port_given_twice_is_refused() -> None:
    """Two services cannot share it."""
    with pytest.raises(LocalError, match="given twice; choose another with --tokenizer-port"):
        resolve_ports(Ports(0, 21_000, 0, 21_000, 0, 0), random.Random(1))


def test_model_is_named_after_its_directory(tmp_path: Path) -> None:
    """A checkpoint of the user's own needs no name on the command line."""
    checkpoint = tmp_path / "my-llama"
    checkpoint.mkdir()
    (checkpoint / "config.json").touch()
    assert choose_model(checkpoint, None) == (checkpoint, "my-llama")
    assert choose_model(checkpoint, "llama") == (checkpoint, "llama")


def test_directory_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    """It is told before Ray starts."""
    with pytest.raises(LocalError, match=f"no checkpoint at {tmp_path}: it has no config.json"):
        choose_model(tmp_path, None)


def test_delays_double_up_to_a_bound_and_begin_anew_after_a_steady_run() -> None:
    """A service that cannot run must not burn the machine; one bad moment must not be held against it."""
    back_off = RestartBackOff()
    assert [back_off.delay_s(ran_s=1.0) for _ in range(8)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert back_off.delay_s(ran_s=60.0) == 0.5


def test_state_directory_is_the_given_one_then_the_variable_then_the_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All commands find the same stack."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PENSTOCK_STATE_DIR", raising=False)
    assert StateDir.at(None).path == tmp_path / ".local/state/penstock"
    monkeypatch.setenv("PENSTOCK_STATE_DIR", "/elsewhere")
    assert StateDir.at(None).path == Path("/elsewhere")
    assert StateDir.at(Path("~/mine")).path == tmp_path / "mine"


def test_state_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """One line with the way out, not a traceback."""
    (tmp_path / "file").touch()
    with pytest.raises(
        LocalError, match=r"cannot write the state directory .*; mend that, or choose another with --state-dir"
    ):
        StateDir(tmp_path / "file" / "below").create()


def test_speculation_is_a_kind_or_a_checkpoint(tmp_path: Path) -> None:
    """A mistyped word must not be looked for as a directory by a worker that starts much later."""
    (tmp_path / "config.json").touch()
    asked = ["off", "prompt-lookup", str(tmp_path)]
    assert [choose_speculation(each) for each in asked] == asked
    with pytest.raises(LocalError, match="got 'prompt-lockup'; allowed: off, prompt-lookup, or a directory"):
        choose_speculation("prompt-lockup")
