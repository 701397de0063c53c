"""Reads the labelled prompts: two prompts are of one class where the very same answer serves both."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True)
class Prompts:
    """Parallel lists, one item a prompt; `sources` are names of files, and "dev" the prompts of the target kind."""

    texts: list[str]
    classes: NDArray[np.int64]
    families: NDArray[np.int64]
    sources: NDArray[np.str_]

    def of_source(self, source: str) -> NDArray[np.int64]:
        """Numbers of a source's prompts."""
        return np.flatnonzero(self.sources == source)

    @property
    def authored(self) -> NDArray[np.int64]:
        """Numbers of what may be learned from."""
        return np.flatnonzero(self.sources != "dev")

    def only(self, numbers: NDArray[np.int64]) -> "Prompts":
        """These prompts, under new numbers."""
        texts = [self.texts[number] for number in numbers]
        return Prompts(texts, self.classes[numbers], self.families[numbers], self.sources[numbers])


def load_prompts() -> Prompts:
    """All prompts; of a repeated one the first."""
    rows = [row for path in sorted(DATA.glob("families_*.txt")) for row in _authored(path)]
    rows += _development(DATA / "paraphrases_dev.jsonl")
    first = {text.strip().lower(): number for number, (text, *_) in reversed(list(enumerate(rows)))}
    kept = [rows[number] for number in sorted(first.values())]
    return Prompts(
        texts=[row[0] for row in kept],
        classes=_numbered([row[2] for row in kept]),
        families=_numbered([row[1] for row in kept]),
        sources=np.array([row[3] for row in kept]),
    )


def _authored(path: Path) -> list[tuple[str, str, str, str]]:
    """Text, family, class, source of each prompt: `#` begins a domain, `##` a family, `=` a class by its answer."""
    rows, domain, family, answer = [], "", "", ""
    for line in filter(None, map(str.strip, path.read_text(encoding="utf-8").splitlines())):
        if line.startswith("## "):
            family = f"{path.stem}/{domain}/{line[3:]}"
        elif line.startswith("# "):
            domain = line[2:]
        elif line.startswith("= "):
            answer = f"{family}/{line[2:]}"
        else:
            rows.append((line, family, answer, path.stem))
    return rows


def _development(path: Path) -> list[tuple[str, str, str, str]]:
    items = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [(item["prompt"], item["family"], f"{item['family']}/{item['class']}", "dev") for item in items]


def _numbered(names: list[str]) -> NDArray[np.int64]:
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names])
