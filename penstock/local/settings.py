"""What a local stack is asked to be."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from penstock.local.errors import LocalError
from penstock.local.paths import pocket_model_dir
from penstock.local.ports import Ports

_TLS_FILES = ("tls_cert", "tls_key", "tls_client_ca")


@dataclass(frozen=True, slots=True)
class StackSettings:
    """One stack.

    Attributes:
        state_dir: absolute.
        model_dir: checkpoint to serve; absolute.
        model_name: what requests call it.
        num_replicas: how many workers serve it.
        tensor_parallel: processes of a worker that share each layer.
        pipeline_parallel: stages that a worker's layers are cut into.
        device: "auto", "cpu" or "cuda".
        dtype: "auto", "float32", "bfloat16" or "float16".
        has_prefix_cache: whether the workers compute equal beginnings of prompts once.
        quantize: "none", "int8" or "int4": what the model's projections are rounded to when it is loaded.
        adapters: directories of LoRA adapters, by what requests call them; absolute.
        speculate: "off", "prompt-lookup", or the directory of a smaller checkpoint that drafts tokens; absolute.
        is_deterministic: whether outputs have the same bits whatever else the workers compute.
        ports: 0 means a free one.
        tls_cert, tls_key: of the gateway's door for clients; absolute; None: plaintext.
        tls_client_ca: its clients must show a certificate signed by one of these; absolute; None: they need not.
        otlp_endpoint: where spans go (http://host:port of an OTLP/gRPC receiver); None: nowhere.
        start_timeout_s: a stack that cannot serve by then is stopped again, in seconds.
    """

    state_dir: Path
    model_dir: Path
    model_name: str
    num_replicas: int = 2
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    device: str = "auto"
    dtype: str = "auto"
    has_prefix_cache: bool = True
    quantize: str = "none"
    adapters: Mapping[str, Path] = field(default_factory=dict)
    speculate: str = "off"
    is_deterministic: bool = False
    ports: Ports = field(default_factory=Ports)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    otlp_endpoint: str | None = None
    start_timeout_s: float = 120.0

    def to_json(self) -> str:
        """For the command line of a detached supervisor."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> "StackSettings":
        """The reverse of `to_json`."""
        fields = json.loads(text)
        fields |= {
            "state_dir": Path(fields["state_dir"]),
            "model_dir": Path(fields["model_dir"]),
            "adapters": {name: Path(path) for name, path in fields["adapters"].items()},
            "ports": Ports(**fields["ports"]),
            **{name: Path(fields[name]) for name in _TLS_FILES if fields[name] is not None},
        }
        return cls(**fields)


def choose_model(directory: Path | None, name: str | None) -> tuple[Path, str]:
    """Directory (absolute) and name of the model to serve: the embedded one where no directory is given.

    Raises:
        LocalError: there is no checkpoint in the directory.
    """
    if directory is None:
        return pocket_model_dir(), name or "pocket"
    found = directory.expanduser().absolute()
    if not (found / "config.json").is_file():
        raise LocalError(f"no checkpoint at {found}: it has no config.json; give a Hugging Face model directory")
    return found, name or found.name


def choose_adapters(asked: Sequence[str]) -> dict[str, Path]:
    """Directories (absolute) of adapters by name, from NAME=DIR each.

    Raises:
        LocalError: one is written differently, or there is no adapter in its directory.
    """
    found = {}
    for each in asked:
        name, equals, directory = each.partition("=")
        path = Path(directory).expanduser().absolute()
        if not (name and equals and (path / "adapter_config.json").is_file()):
            raise LocalError(f"--adapter: got {each!r}; allowed: NAME=DIR, where DIR has an adapter_config.json")
        found[name] = path
    return found


def choose_speculation(speculate: str) -> str:
    """What drafts tokens: "off", "prompt-lookup", or the directory (absolute) of a checkpoint.

    Raises:
        LocalError: it is none of these.
    """
    if speculate in ("off", "prompt-lookup"):
        return speculate
    found = Path(speculate).expanduser().absolute()
    if not (found / "config.json").is_file():
        raise LocalError(
            f"--speculate: got {speculate!r}; allowed: off, prompt-lookup, or a directory with a checkpoint"
        )
    return str(found)
