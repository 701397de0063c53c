"""Prints what extras of pyproject.toml ask for, so that an image layer with it outlives changes of the sources."""

import re
import sys
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any


def requirements(project: dict[str, Any], extra: str | None) -> list[str]:
    """The requirements of the base install (None) or of an extra, with extras of our own resolved."""
    extras: dict[str, list[str]] = project["optional-dependencies"]
    found: list[str] = []
    for requirement in project["dependencies"] if extra is None else extras[extra]:
        own = re.fullmatch(rf"{project['name']}\[(.+)\]", requirement)
        if own is None:
            found.append(requirement)
        else:
            found += [each for name in own[1].split(",") for each in requirements(project, name)]
    return found


if __name__ == "__main__":
    metadata = tomllib.loads(Path(sys.argv[1]).read_text())["project"]
    wanted = [requirements(metadata, extra) for extra in (None, *sys.argv[2].split(","))]
    print("\n".join(dict.fromkeys(chain.from_iterable(wanted))))
