"""Engines with the files that they read, made on the first run and kept."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from engine_bench.checkpoint import make_w8a8_checkpoint
from engine_bench.engines import EngineKind

_CONVERT_LIMIT_S = 900.0
_BENCH = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An engine that takes part, or the reason why it does not."""

    kind: EngineKind
    python: Path | None = None
    model_dir: Path | None = None
    absence: str = ""


def make_entry(kind: EngineKind, precision: str, *, python: Path | None, model_dir: Path) -> Entry:
    """What the engine reads at this precision.

    Args:
        kind: the engine.
        precision: "bf16" or "int8".
        python: its interpreter; None where it is not installed.
        model_dir: the checkpoint. What is made of it lies beside it.
    """
    if python is None:
        return Entry(kind=kind, absence="not installed")
    if kind.has_own_int8_file and precision == "int8":
        return Entry(kind=kind, python=python, model_dir=make_w8a8_checkpoint(model_dir.parent, model_dir))
    if kind.converter is None:
        return Entry(kind=kind, python=python, model_dir=model_dir)
    own_dir = model_dir.parent / kind.name
    try:
        _convert(kind.converter, python, model_dir, own_dir)
    except subprocess.SubprocessError:
        return Entry(kind=kind, absence=f"conversion failed, see {own_dir / 'log'}")
    return Entry(kind=kind, python=python, model_dir=own_dir)


def _convert(converter: str, python: Path, model_dir: Path, own_dir: Path) -> None:
    """Has the engine's environment make its own files, once."""
    done = own_dir / "done"
    if done.exists():
        return
    own_dir.mkdir(parents=True, exist_ok=True)
    command = (python, "-m", f"engine_bench.converters.{converter}", model_dir, own_dir)
    with (own_dir / "log").open("w") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log, timeout=_CONVERT_LIMIT_S, cwd=_BENCH)
    done.touch()
