"""What one rendering may use."""

import sys
from dataclasses import dataclass

_WORKER_MODULE = "penstock_tokenizer.rendering.worker"


@dataclass(frozen=True, slots=True)
class RenderBounds:
    """What one rendering may use: seconds, address space of its process, characters of output."""

    timeout_s: float = 2.0
    max_memory_bytes: int = 512 * 1024 * 1024
    max_output_chars: int = 4 * 1024 * 1024

    def command(self) -> tuple[str, ...]:
        """What starts a render process with these bounds."""
        limits = (str(self.timeout_s), str(self.max_memory_bytes), str(self.max_output_chars))
        return (sys.executable, "-m", _WORKER_MODULE, *limits)
