"""Sampling defaults and end-of-sequence tokens come from the checkpoint."""

import json
from pathlib import Path
from typing import Any

import pytest

from penstock_shared.directory import SamplingDefaults
from penstock_shared.errors import InvalidArgumentError
from penstock_worker.models.generation import read_eos_token_ids, read_sampling_defaults


def _write(tmp_path: Path, generation: dict[str, Any] | None, **config: Any) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(config))
    if generation is not None:
        (tmp_path / "generation_config.json").write_text(json.dumps(generation))
    return tmp_path


@pytest.mark.parametrize(
    ("generation", "expected"),
    [
        (None, SamplingDefaults()),
        ({}, SamplingDefaults()),
        ({"do_sample": False, "temperature": 0.7}, SamplingDefaults(temperature=0.0)),
        (
            {"do_sample": True, "temperature": 0.6, "top_p": 0.95, "top_k": 20, "min_p": 0.01},
            SamplingDefaults(temperature=0.6, top_p=0.95, top_k=20, min_p=0.01),
        ),
        (
            {"repetition_penalty": 1.05, "max_new_tokens": 2048, "top_k": None},
            SamplingDefaults(repetition_penalty=1.05, max_tokens=2048),
        ),
    ],
)
def test_sampling_defaults(tmp_path: Path, generation: dict[str, Any] | None, expected: SamplingDefaults) -> None:
    """Absent means neutral; a checkpoint that says it is greedy is greedy."""
    assert read_sampling_defaults(_write(tmp_path, generation)) == expected


@pytest.mark.parametrize(
    ("generation", "config", "expected"),
    [
        (None, {"eos_token_id": 2}, (2,)),
        ({"eos_token_id": [5, 2, 5]}, {"eos_token_id": 7}, (2, 5)),
        ({"eos_token_id": None}, {"eos_token_id": 7}, (7,)),
        ({"eos_token_id": 0}, {}, (0,)),
        ({}, {}, ()),
    ],
)
def test_eos_tokens(
    tmp_path: Path, generation: dict[str, Any] | None, config: dict[str, Any], expected: tuple[int, ...]
) -> None:
    """One or several; generation_config.json goes first."""
    assert read_eos_token_ids(_write(tmp_path, generation, **config), vocab_size=10) == expected


@pytest.mark.parametrize("eos_token_id", [10, -1, "2", [1, 10], [None]])
def test_wrong_eos_is_refused(tmp_path: Path, eos_token_id: object) -> None:
    """Outputs that never end would be the alternative."""
    with pytest.raises(InvalidArgumentError, match=r"eos_token_id.*0 to 9"):
        read_eos_token_ids(_write(tmp_path, None, eos_token_id=eos_token_id), vocab_size=10)


def test_wrong_default_is_refused(tmp_path: Path) -> None:
    """A default that is not allowed would fail every request that does not set it."""
    with pytest.raises(InvalidArgumentError, match=r"generation_config\.json temperature"):
        read_sampling_defaults(_write(tmp_path, {"temperature": "hot"}))
