"""compose.yaml: what is reachable, and what a container may do."""

import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SERVICES = ["gateway", "cache", "tokenizer", "fleet", "worker"]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The file, as written."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return loaded


def test_every_service_is_an_image_of_its_own(compose: dict[str, Any]) -> None:
    """By the target of its name."""
    assert {name: service["build"]["target"] for name, service in compose["services"].items()} == {
        name: name for name in SERVICES
    }


def test_only_the_gateway_is_published_and_on_loopback_alone(compose: dict[str, Any]) -> None:
    """Nobody has to show a key here: other machines must not get in."""
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert list(published) == ["gateway"]
    assert [port.rpartition("${")[0] for port in published["gateway"]] == ["127.0.0.1:", "127.0.0.1:"]


def test_all_but_the_gateway_are_cut_off_from_the_outside(compose: dict[str, Any]) -> None:
    """Ray's control plane runs code for whoever has its token."""
    assert compose["networks"]["inner"] == {"internal": True}
    assert {name: service["networks"] for name, service in compose["services"].items()} == {
        name: ["inner", "edge"] if name == "gateway" else ["inner"] for name in SERVICES
    }


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_may_do_no_more_than_it_must(compose: dict[str, Any], name: str) -> None:
    """What breaks into a service finds nothing to write to and no rights to gain."""
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in service  # the images' own, which is not root
    assert service["healthcheck"]["test"][:4] == ["CMD", "python", "-m", "penstock_shared.healthcheck"]


def test_secrets_are_files_that_only_their_services_see(compose: dict[str, Any]) -> None:
    """The token of Ray is for those who are part of it."""
    assert {name: service["secrets"] for name, service in compose["services"].items()} == {
        name: ["fleet_credential", "ray_token"] if name in {"fleet", "worker"} else ["fleet_credential"]
        for name in SERVICES
    }
    assert all(set(secret) == {"file"} for secret in compose["secrets"].values())


def test_secrets_are_made_once_and_for_their_owner(tmp_path: Path) -> None:
    """A second run must not lock running services out."""
    folder = tmp_path / "secrets"
    for _ in range(2):
        subprocess.run([ROOT / "deploy/make-secrets", folder], check=True, capture_output=True)
        texts = {file.name: file.read_text() for file in folder.iterdir()}
        assert set(texts) == {"fleet.credential", "ray.token"}
    first = {file.name: file.read_text() for file in folder.iterdir()}
    subprocess.run([ROOT / "deploy/make-secrets", folder], check=True, capture_output=True)
    assert {file.name: file.read_text() for file in folder.iterdir()} == first
    assert len(set(first.values())) == 2
    assert all(len(secret) == 43 for secret in first.values())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
