"""Another wording of a question, through every service: compared, explained, removed and carried over."""

import json
from pathlib import Path
from typing import Any

import pytest
from stack.running import RunningStack, running_stack

_QUESTION, _OTHER_WORDING = "What is the capital of Italy?", "Tell me the capital of Italy."
_CANNOT_BE_LATE = {"PENSTOCK_CACHE_SEMANTIC_BUDGET_S": "10", "PENSTOCK_GATEWAY_CACHE_BUDGET_S": "20"}


def test_another_wording_is_compared_explained_and_carried_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a user is told of a decision, and what an operator can do about it, must be about one and the same cache."""
    for name, value in ({"PENSTOCK_CACHE_SEMANTIC": "1"} | _CANNOT_BE_LATE).items():
        monkeypatch.setenv(name, value)
    file = str(tmp_path / "answers.jsonl")
    with running_stack(tmp_path / "stack", "--replicas=1") as stack:
        _wait_for_encoder(stack)
        assert _told(stack, "generate", _QUESTION)["cache"]["outcome"] == "miss"
        explained = _told(stack, "cache", "explain", _OTHER_WORDING)
        assert (explained["restriction"], explained["max_error_rate"]) == ("", 0.01)
        assert [each["prompt"] for each in explained["candidates"]] == [_QUESTION]
        answer = _told(stack, "generate", _OTHER_WORDING)
        assert answer["cache"]["outcome"] in {"explored", "semantic_hit"}
        assert 0 < answer["cache"]["similarity"] <= 1
        assert "Rome" in answer["text"]
        exact = _told(stack, "generate", _OTHER_WORDING, "--cache-max-error-rate", "0", "--cache-scope", "mine")
        assert exact["cache"]["outcome"] == "miss"
        assert _told(stack, "cache", "stats", "--tenant", "default")["num_semantic_lookups"] == 2
        num_records = _told(stack, "cache", "export", file)["num_records"]
        assert _told(stack, "cache", "invalidate", "--all")["num_removed"] == 3
        assert _told(stack, "cache", "explain", _OTHER_WORDING)["candidates"] == []
        kept = _told(stack, "cache", "import", file)
        assert sum(count for name, count in kept.items() if name != "tenant") == num_records
        assert kept["num_entries"] == 3
        assert _told(stack, "generate", _QUESTION)["cache"]["outcome"] == "exact_hit"


def _wait_for_encoder(stack: RunningStack) -> None:
    """It takes seconds to load, and until then the cache is the exact one."""
    for _ in range(200):
        if "answers are found by meaning" in (stack.state_dir / "logs" / "cache.log").read_text():
            return
        _told(stack, "cache", "stats")
    pytest.fail("the encoder is not loaded")


def _told(stack: RunningStack, *arguments: str) -> dict[str, Any]:
    run = stack.cli(*arguments, "--json")
    assert run.returncode == 0, run.stderr
    told: dict[str, Any] = json.loads(run.stdout)
    return told
