"""What deployments set is what services read."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy.kubernetes_manifests import container_of, pods_of, written
from deploy.setting_names import SETTINGS, variables_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", SETTINGS)
def test_compose_sets_only_what_the_service_reads(name: str) -> None:
    """A misspelt variable is ignored, and the service runs with something else."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert set(services[name]["environment"]) - variables_of(name) == set()


@pytest.mark.parametrize("name", SETTINGS)
def test_kubernetes_sets_only_what_the_service_reads(name: str) -> None:
    """The same, and what Kubernetes itself and Ray read."""
    variables = {each["name"] for each in container_of(pods_of(written())[name])["env"]}
    others = {"POD_IP", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"} if name == "worker" else {"POD_IP"}
    assert variables - others - variables_of(name) == set()


@pytest.mark.parametrize("name", SETTINGS)
def test_the_values_in_kubernetes_are_allowed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that does not start on its manifest is found here, not in the cluster."""
    for variable in container_of(pods_of(written())[name])["env"]:
        monkeypatch.setenv(variable["name"], _value(variable))
    SETTINGS[name]()


def _value(variable: dict[str, Any]) -> str:
    """As the kubelet fills it in; what comes from a Secret stands in for itself."""
    return str(variable.get("value", "10.1.2.3")).replace("$(POD_IP)", "10.1.2.3")
