"""Which Penstock this is."""

from importlib.metadata import PackageNotFoundError, version


def server_version() -> str:
    """Of the installed distribution."""
    try:
        return version("penstock")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0+unknown"
