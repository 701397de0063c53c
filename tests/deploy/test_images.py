"""Each image holds what its service imports, and not what it does not: checked without building one.

An image has the packages of one extra of pyproject.toml, or of some. The service is imported in a fresh process that
refuses every module of this environment that the extras do not bring, and every service that is not in the image.
"""

import json
import re
import subprocess
import sys
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
# By target of the Dockerfile: the modules that its processes import.
MODULES = {
    "gateway": ["penstock_gateway.__main__", "penstock_gateway.constraints.trial"],
    "cache": [
        "penstock_cache.__main__",
        "penstock_cache.postgres.database",
        "penstock_cache.semantic.graph_files",
        "penstock_cache.semantic.transformer_encoder",
    ],
    "tokenizer": ["penstock_tokenizer.__main__", "penstock_tokenizer.rendering.worker"],
    "fleet": ["penstock_worker.__main__", "penstock_worker.fleet.driver", "penstock_worker.replica.actor"],
    "worker": [
        "penstock_worker.node.__main__",
        "penstock_worker.fleet.actor",
        "penstock_worker.replica.server",
        "penstock_worker.engine.build",
        "penstock_worker.constraints.process",
    ],
}
SERVICES = {"penstock_cache", "penstock_gateway", "penstock_tokenizer", "penstock_worker"}
HEAVY = {
    "gateway": set(),
    "cache": {"torch", "transformers"},
    "tokenizer": set(),
    "fleet": {"ray"},
    "worker": {"ray", "torch"},
}
EXTRAS = {"cache": "semantic,postgres"}  # the others' have the names of their images
CARRIED_BY_RAY = {"colorama", "setproctitle"}  # inside its own package; found once something has imported it
IMPORT_WITHOUT = """
import importlib, json, sys
absent = set(json.loads(sys.argv[1]))
class Image:
    def __init__(self, finders):
        self._finders = finders
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            return None
        specs = (finder.find_spec(name, path, target) for finder in self._finders)
        return next((spec for spec in specs if spec is not None), None)
    def find_distributions(self, *context):
        for finder in self._finders:
            yield from getattr(finder, "find_distributions", lambda *_: ())(*context)
sys.meta_path[:] = [Image(list(sys.meta_path))]
for module in json.loads(sys.argv[2]):
    importlib.import_module(module)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def installed(requirement: Requirement) -> set[str]:
    """What pip installs for a requirement: the distribution, and those that it requires itself."""
    todo = [requirement]
    seen = set()
    while todo:
        wanted = todo.pop()
        key = (canonicalize_name(wanted.name), frozenset(wanted.extras))
        if key in seen:
            continue
        seen.add(key)
        for text in distribution(wanted.name).requires or []:
            further = Requirement(text)
            environments = [{"extra": extra} for extra in wanted.extras or {""}]
            if further.marker is None or any(further.marker.evaluate(each) for each in environments):
                todo.append(further)
    return {name for name, _ in seen}


def packages(target: str) -> set[str]:
    """Importable names in the site-packages of an image, ours aside."""
    command = [sys.executable, "deploy/docker/requirements.py", "pyproject.toml", EXTRAS.get(target, target)]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    there = {name for line in lines for name in installed(Requirement(line))}
    owners = packages_distributions()
    found = {name for name in owners if there & {canonicalize_name(owner) for owner in owners[name]}}
    return found | CARRIED_BY_RAY if "ray" in found else found


@pytest.fixture(scope="module")
def dockerfile() -> str:
    """The text of the Dockerfile."""
    return (ROOT / "deploy/docker/Dockerfile").read_text()


@pytest.mark.parametrize("target", MODULES)
def test_an_image_has_what_its_service_imports(target: str) -> None:
    """A package that is missing would show only when somebody starts the container."""
    own = {"penstock", "penstock_shared", MODULES[target][0].partition(".")[0]}
    absent = (set(packages_distributions()) | SERVICES) - packages(target) - own
    command = [sys.executable, "-c", IMPORT_WITHOUT, json.dumps(sorted(absent)), json.dumps(MODULES[target])]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert {"ray", "torch", "transformers"} & set(json.loads(ended.stdout.splitlines()[-1])) == HEAVY[target]


@pytest.mark.parametrize("target", MODULES)
def test_an_image_has_no_heavy_package_that_its_service_does_not_import(target: str) -> None:
    """Lean images: torch is a gigabyte, Ray a quarter of one."""
    assert {"ray", "torch", "transformers"} & packages(target) == HEAVY[target]


@pytest.mark.parametrize("target", MODULES)
def test_an_image_is_made_from_its_own_extra(dockerfile: str, target: str) -> None:
    """The tests above speak of extras: the Dockerfile must take the same ones."""
    assert f" {target}:{EXTRAS.get(target, target)}" in dockerfile
    assert f"AS {target}-packages\nCOPY --from=requirements /src/{target}.txt requirements.txt\nRUN pip " in dockerfile
    (stage,) = re.findall(rf"^FROM service AS {target}\n(.*?)(?=^FROM|\Z)", dockerfile, re.DOTALL | re.MULTILINE)
    assert f"COPY --from={target}-packages /opt/penstock /opt/penstock\n" in stage
    module = MODULES[target][0].removesuffix(".__main__")
    assert f'CMD ["python", "-m", "{module}"]' in stage


def test_the_index_of_torch_for_cpus_reaches_every_stage(dockerfile: str) -> None:
    """An argument alone does not with every engine, and the worker's image would grow by gigabytes."""
    assert "ARG PIP_EXTRA_INDEX_URL=\n" in dockerfile
    assert "ENV PIP_EXTRA_INDEX_URL=${PIP_EXTRA_INDEX_URL} " in dockerfile
