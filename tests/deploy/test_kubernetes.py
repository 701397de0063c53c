"""deploy/kubernetes: is it valid, what is reachable, and what a container may do."""

from typing import Any

import kubernetes_validate
import pytest
import yaml
from deploy.kubernetes_manifests import FOLDER, Manifest, container_of, pods_of, rendered, written

# What supported clusters run, from the oldest on.
VERSIONS = ("1.31", "1.37")
SERVICES = ["gateway", "cache", "tokenizer", "fleet", "worker"]
INNER_PORTS = {"cache": 50052, "tokenizer": 50053, "fleet": 50054}
SECRETS = {
    "gateway": {"penstock-fleet-credential", "penstock-api-keys"},
    "cache": {"penstock-fleet-credential", "penstock-postgres"},
    "tokenizer": {"penstock-fleet-credential"},
    "fleet": {"penstock-fleet-credential", "penstock-ray-token"},
    "worker": {"penstock-fleet-credential", "penstock-ray-token"},
}


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    """Of the base."""
    return written()


@pytest.fixture(scope="module")
def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Of the base, by service."""
    return pods_of(manifests)


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    """Their specs by name."""
    return {each["metadata"]["name"]: each["spec"] for each in manifests if each["kind"] == kind}


def check(manifests: list[Manifest]) -> None:
    """Raises where a manifest, or a pod of the RayCluster, has a field that Kubernetes does not know."""
    built_in = [manifest for manifest in manifests if manifest["kind"] != "RayCluster"]
    template = {"apiVersion": "v1", "kind": "PodTemplate"}
    templates = [template | {"metadata": {"name": name}, "template": pod} for name, pod in pods_of(manifests).items()]
    for version in VERSIONS:
        for manifest in (*built_in, *templates):
            kubernetes_validate.validate(manifest, version, strict=True)


def test_the_manifests_are_valid(manifests: list[Manifest]) -> None:
    """An unknown field would be refused, or be dropped silently, when somebody applies it."""
    check(manifests)
    broken = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"port": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        check([broken])


def test_every_file_is_part_of_the_base(manifests: list[Manifest]) -> None:
    """One that is left out of the list is applied by nobody."""
    kustomization = yaml.safe_load((FOLDER / "base/kustomization.yaml").read_text())
    files = {file.name for file in (FOLDER / "base").iterdir()}
    assert {*kustomization["resources"], "kustomization.yaml"} == files
    assert list(pods_of(manifests)) == ["gateway", "cache", "tokenizer", "fleet", "worker"]


def test_the_ray_cluster_has_what_kuberay_needs(manifests: list[Manifest]) -> None:
    """Its CRD is not here: these are the fields of `ray.io/v1` that are used, and what must stand in them."""
    (cluster,) = [manifest for manifest in manifests if manifest["kind"] == "RayCluster"]
    assert cluster["apiVersion"] == "ray.io/v1"
    assert cluster["metadata"]["annotations"] == {"ray.io/overwrite-container-cmd": "true"}
    spec = cluster["spec"]
    assert set(spec) == {"rayVersion", "enableInTreeAutoscaling", "headGroupSpec", "workerGroupSpecs"}
    assert set(spec["headGroupSpec"]) == {"rayStartParams", "template"}
    (workers,) = spec["workerGroupSpecs"]
    assert set(workers) == {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    head, worker = container_of(spec["headGroupSpec"]["template"]), container_of(workers["template"])
    assert head["command"][-2:] == ["-m", "penstock_worker"]
    assert "--unset=RAY_ADDRESS" in head["command"]
    assert worker["command"][-2:] == ["-m", "penstock_worker.node"]


def test_the_ray_that_is_named_is_the_one_in_the_images(manifests: list[Manifest]) -> None:
    """KubeRay decides by it what Ray can do."""
    (spec,) = of_kind(manifests, "RayCluster").values()
    pinned = (FOLDER.parents[1] / "constraints/cpu.txt").read_text().splitlines()
    assert f"ray=={spec['rayVersion']}" in pinned


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_may_do_no_more_than_it_must(pods: dict[str, Manifest], name: str) -> None:
    """What breaks into a service finds nothing to write to, no rights to gain, and no key to the cluster."""
    spec = pods[name]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "fsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = container_of(pods[name])
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["image"] == f"penstock-{name}:latest"
    assert {"cpu", "memory"} == set(container["resources"]["requests"])
    assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_are_named_and_only_where_they_are_needed(
    manifests: list[Manifest], pods: dict[str, Manifest], name: str
) -> None:
    """A secret in a manifest ends up in a repository."""
    assert not [manifest for manifest in manifests if manifest["kind"] == "Secret"]
    volumes = [volume["secret"] for volume in pods[name]["spec"]["volumes"] if "secret" in volume]
    assert all(volume["defaultMode"] == 0o440 for volume in volumes)
    variables = container_of(pods[name])["env"]
    references = [
        each["valueFrom"]["secretKeyRef"] for each in variables if "secretKeyRef" in each.get("valueFrom", {})
    ]
    assert {*(each["secretName"] for each in volumes), *(each["name"] for each in references)} == SECRETS[name]


@pytest.mark.parametrize("name", SERVICES)
def test_every_mount_has_its_volume(pods: dict[str, Manifest], name: str) -> None:
    """And every path in the environment lies in one of them, or in the image."""
    container = container_of(pods[name])
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert set(mounts) == {volume["name"] for volume in pods[name]["spec"]["volumes"]}
    paths = [each["value"] for each in container["env"] if str(each.get("value", "")).startswith("/run/")]
    assert paths
    assert all(path.rpartition("/")[0] in mounts.values() for path in paths)


def test_addresses_in_the_environment_are_those_of_services(
    manifests: list[Manifest], pods: dict[str, Manifest]
) -> None:
    """A service is found by its name, at a port that its pods listen on."""
    services = of_kind(manifests, "Service")
    offered = {
        (name, port["port"]): (spec["selector"], port) for name, spec in services.items() for port in spec["ports"]
    }
    for selector, port in offered.values():
        ports = container_of(pods[selector["app.kubernetes.io/name"]])["ports"]
        found = {each["name"]: each["containerPort"] for each in ports}
        assert found[port["targetPort"]] == port["port"]
    asked = {
        each["value"]
        for pod in pods.values()
        for each in container_of(pod)["env"]
        if each["name"].endswith(("_ADDRESS", "_HEAD")) and "$" not in each["value"]
    }
    assert asked == {"cache:50052", "tokenizer:50053", "fleet:50054", "fleet:6379"}
    assert asked <= {f"{name}:{port}" for name, port in offered}


def test_inner_ports_are_reached_by_our_pods_alone(manifests: list[Manifest]) -> None:
    """Ray runs code for whoever has its token; tenants are believed from whoever has the fleet credential."""
    policies = of_kind(manifests, "NetworkPolicy")
    everything = {"matchLabels": {"app.kubernetes.io/part-of": "penstock"}}
    assert policies["closed"]["podSelector"] == everything
    assert policies["closed"]["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policies["closed"]
    admitted = {name: _admitted(policies[name]) for name in SERVICES}
    assert admitted == {
        "gateway": {("anybody", 50051), ("namespace monitoring", 8080)},
        "cache": {("gateway", 50052)},
        "tokenizer": {("gateway", 50053)},
        "fleet": {("gateway", 50054), ("tokenizer", 50054), ("worker", None)},
        "worker": {("gateway", None), ("fleet", None), ("worker", None)},
    }


def _admitted(policy: Manifest) -> set[tuple[str, int | None]]:
    """Who may connect to which port; None: any."""
    found = set()
    for rule in policy["ingress"]:
        ports = [each["port"] for each in rule.get("ports", [{"port": None}])]
        peers = [name for peer in rule["from"] for name in _names(peer)] if "from" in rule else ["anybody"]
        found |= {(peer, port) for peer in peers for port in ports}
    return found


def _names(peer: dict[str, Any]) -> list[str]:
    if "namespaceSelector" in peer:
        return [f"namespace {name}" for name in peer["namespaceSelector"]["matchLabels"].values()]
    selector = peer["podSelector"]
    names = [name for each in selector.get("matchExpressions", []) for name in each["values"]]
    return names + list(selector.get("matchLabels", {}).values())


def test_every_pod_is_under_the_policies(manifests: list[Manifest], pods: dict[str, Manifest]) -> None:
    """One without the labels would be open to the whole cluster."""
    policies = of_kind(manifests, "NetworkPolicy")
    for name, pod in pods.items():
        assert pod["metadata"]["labels"]["app.kubernetes.io/part-of"] == "penstock"
        assert policies[name]["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": name}}


@pytest.mark.parametrize("name", SERVICES)
def test_health_is_asked_by_the_standard_protocol(pods: dict[str, Manifest], name: str) -> None:
    """A pod gets work when it says that it can do it, not when it listens; it is not killed for waiting for others."""
    container = container_of(pods[name])
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    probe = container["readinessProbe"]
    if name == "gateway":
        assert probe["exec"]["command"] == ["python", "-m", "penstock_shared.healthcheck", "127.0.0.1:50055"]
    else:
        assert probe["grpc"] == {"port": ports["node" if name == "worker" else "grpc"]}
    if name != "worker":
        assert container["livenessProbe"]["tcpSocket"] == {"port": "grpc"}


def test_with_tls_every_service_has_a_certificate_and_is_asked_with_it() -> None:
    """One that was left out would reach nobody, and a probe in plaintext would never find it ready."""
    manifests = rendered("tls")
    check(manifests)
    assert {each["metadata"].get("namespace") for each in manifests if each["kind"] != "Namespace"} == {"penstock"}
    for name, pod in pods_of(manifests).items():
        container = container_of(pod)
        assert "/run/secrets/inner-tls" in {mount["mountPath"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        assert volumes["inner-tls"]["secret"]["secretName"] == "penstock-inner-tls"
        told = {each["name"]: each["value"] for each in container["env"] if each["name"].startswith("PENSTOCK_INNER_")}
        assert told == ({} if name == "worker" else TOLD), name
        if name in INNER_PORTS:
            command = container["readinessProbe"]["exec"]["command"]
            assert command[2:] == ["penstock_shared.healthcheck", "--inner-tls", f"127.0.0.1:{INNER_PORTS[name]}"]


TOLD = {
    "PENSTOCK_INNER_TLS_CERT_FILE": "/run/secrets/inner-tls/tls.crt",
    "PENSTOCK_INNER_TLS_KEY_FILE": "/run/secrets/inner-tls/tls.key",
    "PENSTOCK_INNER_TLS_CA_FILE": "/run/secrets/inner-tls/ca.crt",
    "PENSTOCK_INNER_TLS_SERVER_NAME": "penstock.internal",
}
