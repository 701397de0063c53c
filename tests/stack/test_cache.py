"""The same question is computed once: after a restart of everything too, and a dead cache is nobody's error."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stack.running import RunningStack, running_stack

from penstock import Answer

_ASK = ("generate", "What is the capital of France?", "--json", "--temperature", "0", "--token-ids")
_TIMEOUT_S = 60
# What a stored answer has in common with a new one.
_SAME = ("text", "token_ids", "finish_reason", "model_revision", "prompt_tokens")


def test_the_second_answer_comes_from_the_cache_even_after_a_restart(tmp_path: Path) -> None:
    """What a model has once said for certain need not be computed again."""
    with running_stack(tmp_path, "--replicas=1") as stack:
        first, second = _ask(stack), _ask(stack)
        bypassed = _ask(stack, "--no-cache")
    assert (_outcome(first), _outcome(second), _outcome(bypassed)) == ("miss", "exact_hit", "bypassed")
    assert (second["replica"], second["routing_reason"]) == ("", "cache")
    assert bypassed["replica"] == first["replica"] != ""
    for answer in (second, bypassed):
        assert {name: answer[name] for name in _SAME} == {name: first[name] for name in _SAME}
    with running_stack(tmp_path, "--replicas=1") as stack:
        again = _ask(stack)
    assert _outcome(again) == "exact_hit"
    assert again["token_ids"] == first["token_ids"]


def test_requests_go_on_without_the_cache_until_it_is_back(stack: RunningStack) -> None:
    """It is an advantage to have, and never a reason to fail."""
    pid = next(service["pid"] for service in stack.read_status()["services"] if service["name"] == "cache")
    with stack.client() as client:

        def ask(outcome: str) -> Answer:
            return _until(lambda: client.generate("Once upon", temperature=0, max_tokens=4), outcome)

        kept = ask("exact_hit")
        os.kill(pid, signal.SIGKILL)
        without = ask("skipped")
        assert without.text == kept.text
        assert without.replica
        assert ask("exact_hit").text == kept.text


def _ask(stack: RunningStack, *arguments: str) -> dict[str, Any]:
    run = stack.cli(*_ASK, *arguments)
    assert run.returncode == 0, run.stderr
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer


def _outcome(answer: dict[str, Any]) -> str:
    return str(answer["cache"]["outcome"])


def _until(ask: Callable[[], Answer], outcome: str) -> Answer:
    """Asks again until the cache has done what is wanted; no ask may fail meanwhile."""
    deadline = time.monotonic() + _TIMEOUT_S
    while (answer := ask()).cache.outcome != outcome:
        assert time.monotonic() < deadline, f"the cache did not come to {outcome}, but to {answer.cache}"
    return answer
