"""Tokenizers and render processes that the tests share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from fakes.tokenizer_dirs import MAKERS, write_tokenizer_dir

from penstock_tokenizer.checkpoint import read_checkpoint
from penstock_tokenizer.rendering.bounds import RenderBounds
from penstock_tokenizer.rendering.pool import RenderPool
from penstock_tokenizer.tokenizer import TextTokenizer, make_tokenizer


@pytest.fixture(scope="session")
def tokenizer_dirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A directory for each kind of tokenizer, without chat templates."""
    root = tmp_path_factory.mktemp("tokenizers")
    return {kind: write_tokenizer_dir(root / kind, make()) for kind, make in MAKERS.items()}


@pytest.fixture(scope="session")
def tokenizers(tokenizer_dirs: dict[str, Path]) -> dict[str, TextTokenizer]:
    """Those directories, loaded."""
    return {kind: make_tokenizer(read_checkpoint(directory)) for kind, directory in tokenizer_dirs.items()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def render_pool() -> AsyncIterator[RenderPool]:
    """Two render processes with short bounds. Modules that use it run their tests in one event loop."""
    bounds = RenderBounds(timeout_s=1.0, max_memory_bytes=256 * 1024 * 1024, max_output_chars=1_000_000)
    pool = RenderPool(num_processes=2, max_pending=16, bounds=bounds)
    await pool.start()
    yield pool
    await pool.close()
