"""Checkpoints for the engine's tests, each made once."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fakes.checkpoints import save_checkpoint
from near_tie import ReferenceModel


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """The models are too small for more threads to pay."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The directory of a small random checkpoint of a family."""
    made: dict[str, Path] = {}

    def make(family: str) -> Path:
        if family not in made:
            made[family] = save_checkpoint(family, tmp_path_factory.mktemp(family))
        return made[family]

    return make


@pytest.fixture(scope="session")
def reference(checkpoint: Callable[[str], Path]) -> Callable[[str], ReferenceModel]:
    """The same checkpoint in transformers."""
    made: dict[str, ReferenceModel] = {}

    def make(family: str) -> ReferenceModel:
        if family not in made:
            made[family] = ReferenceModel(checkpoint(family))
        return made[family]

    return make
