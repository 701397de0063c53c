"""A checkpoint for tests that change it."""

from pathlib import Path

import pytest
from fakes.checkpoints import save_checkpoint


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    """A small random Llama checkpoint of the test's own."""
    return save_checkpoint("llama", tmp_path)
