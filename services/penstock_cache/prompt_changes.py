"""What a write did to the prompts, for whoever keeps their vectors in memory.

Changes are gathered in order while a write runs, and hold once it is committed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class AddedPrompt:
    """A prompt that is stored now; its ids are the database's."""

    scope: int
    prompt: int
    vector: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RemovedPrompt:
    """A prompt that is gone."""

    scope: int
    prompt: int


PromptChange = AddedPrompt | RemovedPrompt
