"""Where the weights lie that ship with the package."""

from pathlib import Path

from penstock_shared.errors import FailedPreconditionError

_FILE = "verifier.safetensors"
_INSTALLED = Path(__file__).parent / _FILE
_CHECKOUT = Path(__file__).parents[4] / "models" / "verifier" / _FILE


def verifier_weights() -> Path:
    """Inside an installed package, or in the tree of a checkout."""
    for candidate in (_INSTALLED, _CHECKOUT):
        if candidate.is_file():
            return candidate
    raise FailedPreconditionError("the verifier's weights are missing from this installation; install penstock again")
