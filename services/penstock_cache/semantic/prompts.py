"""A prompt as the semantic layer sees it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class EncodedPrompt:
    """What an encoder makes of a prompt in one pass.

    Attributes:
        text: the prompt itself.
        vector: float32 [dimension], of length one.
        detail: what the verifier keeps of the prompt, opaque to the store; may be empty.
    """

    text: str
    vector: NDArray[np.float32]
    detail: bytes = b""
