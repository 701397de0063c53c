"""The manifests of deploy/kubernetes, as written and as rendered."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "deploy/kubernetes"
Manifest = dict[str, Any]


def written() -> list[Manifest]:
    """Those of the base, which hold all but the namespace."""
    kustomization = yaml.safe_load((FOLDER / "base/kustomization.yaml").read_text())
    files = [FOLDER / "base" / name for name in kustomization["resources"]]
    return [manifest for file in files for manifest in yaml.safe_load_all(file.read_text())]


def rendered(name: str) -> list[Manifest]:
    """Those of a kustomization; skips the test where nothing can render it."""
    if shutil.which("kubectl"):
        command = ["kubectl", "kustomize"]
    elif shutil.which("kustomize"):
        command = ["kustomize", "build"]
    else:
        pytest.skip("needs kubectl or kustomize")
    ended = subprocess.run([*command, FOLDER / name], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(ended.stdout))


def pods_of(manifests: list[Manifest]) -> dict[str, Manifest]:
    """The pod template of each service, by the service's name."""
    templates = []
    for manifest in manifests:
        if manifest["kind"] == "Deployment":
            templates.append(manifest["spec"]["template"])
        elif manifest["kind"] == "RayCluster":
            groups = [manifest["spec"]["headGroupSpec"], *manifest["spec"]["workerGroupSpecs"]]
            templates += [group["template"] for group in groups]
    return {template["metadata"]["labels"]["app.kubernetes.io/name"]: template for template in templates}


def container_of(pod: Manifest) -> Manifest:
    """The one container of a pod."""
    (container,) = pod["spec"]["containers"]
    return dict(container)
