"""A LoRA adapter on disk: checked against the model that it is for before anything of it is read. Needs no torch."""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from penstock_shared.errors import InvalidArgumentError
from penstock_worker.models.adapter_config import LoraConfig, read_lora_config
from penstock_worker.models.adapter_modules import AdaptableModule, adaptable_modules, target_names
from penstock_worker.models.decoder_config import DecoderConfig
from penstock_worker.models.safetensors_header import read_header
from penstock_worker.models.weight_files import first_names

_FILE_NAME = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_SUFFIXES = {"A": ".lora_A.weight", "B": ".lora_B.weight"}
_DTYPES = ("F32", "F16", "BF16")


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """An adapter that fits its model.

    Attributes:
        path: of its safetensors file.
        revision: SHA-256 of its configuration and of all its bytes, in hex digits.
        lora: rank and scale.
        modules: the projections that it changes, by name.
    """

    path: Path
    revision: str
    lora: LoraConfig
    modules: Mapping[str, AdaptableModule]

    def tensor_names(self, module: str) -> tuple[str, str]:
        """Of A and of B of a module."""
        return f"{_PREFIX}{module}{_SUFFIXES['A']}", f"{_PREFIX}{module}{_SUFFIXES['B']}"


def open_adapter(adapter_dir: Path, model: DecoderConfig) -> AdapterFile:
    """Checks the adapter in `adapter_dir`.

    Raises:
        InvalidArgumentError: it is no plain LoRA adapter in safetensors format, or not one for this model.
    """
    lora = read_lora_config(adapter_dir)
    path = adapter_dir / _FILE_NAME
    shapes = dict(_shapes(path))
    known = adaptable_modules(model)
    modules = {name: known[name] for name in _module_names(shapes, known.keys(), target_names(model))}
    _check_shapes(shapes, modules, lora)
    return AdapterFile(path, _revision(adapter_dir), lora, modules)


def _shapes(path: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, entry in read_header(path).items():
        if entry.dtype not in _DTYPES:
            raise InvalidArgumentError(f"tensor {name} dtype", entry.dtype, ", ".join(_DTYPES))
        yield name, entry.shape


def _module_names(shapes: Mapping[str, object], known: Collection[str], targets: list[str]) -> list[str]:
    """The modules that the tensors belong to, in the model's order."""
    found, unknown = set(), []
    for name in shapes:
        module = next((name.removesuffix(suffix) for suffix in _SUFFIXES.values() if name.endswith(suffix)), "")
        module = module.removeprefix(_PREFIX)
        if module in known:
            found.add(module)
        else:
            unknown.append(name)
    if unknown:
        allowed = f"A and B of these modules of the model's layers: {', '.join(targets)}"
        raise InvalidArgumentError("adapter tensors", first_names(sorted(unknown)), allowed)
    if not found:
        raise InvalidArgumentError("adapter tensors", "none", "at least one module")
    return [name for name in known if name in found]


def _check_shapes(
    shapes: Mapping[str, tuple[int, ...]], modules: Mapping[str, AdaptableModule], lora: LoraConfig
) -> None:
    for name, module in modules.items():
        expected = {"A": (lora.rank, module.in_size), "B": (module.out_size, lora.rank)}
        for part, shape in expected.items():
            tensor = f"{_PREFIX}{name}{_SUFFIXES[part]}"
            if shapes.get(tensor) != shape:
                raise InvalidArgumentError(f"adapter tensor {tensor}", shapes.get(tensor, "nothing"), f"shape {shape}")


def _revision(adapter_dir: Path) -> str:
    """Adapters are small: all of their bytes count."""
    digest = hashlib.sha256((adapter_dir / "adapter_config.json").read_bytes())
    with (adapter_dir / _FILE_NAME).open("rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
