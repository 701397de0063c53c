"""Makes the bench's modules importable: they import each other from their own folder, as when they are run."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "bench"))
