"""A stranger's first minute: a question, a true answer, and where it came from."""

import json

import pytest
from stack.running import RunningStack


def test_generate_answers_with_all_that_a_user_asks_about(stack: RunningStack) -> None:
    """The command line is what people see first; its JSON is what their scripts read."""
    run = stack.cli("generate", "What is the capital of France?", "--json", "--no-cache", "--token-ids")
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout)
    assert "Paris" in answer["text"]
    assert answer["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == len(answer["token_ids"]) > 0
    assert answer["usage"]["prompt_tokens"] == answer["prompt_tokens"] > 0
    assert answer["timings"]["total_s"] >= answer["timings"]["time_to_first_token_s"] > 0
    assert answer["replica"] in {replica.replica_id for replica in stack.replicas()}
    assert answer["routing_reason"]
    assert answer["cache"]["outcome"] == "bypassed"
    assert len(answer["trace_id"]) == 32
    assert len(answer["model_revision"]) > 0


def test_texts_become_vectors(stack: RunningStack) -> None:
    """Equal texts have equal vectors of length 1, whatever stands beside them."""
    run = stack.cli("embed", "a cat", "a lorry of steel", "a cat", "--pooling", "mean", "--normalize", "--json")
    assert run.returncode == 0, run.stderr
    first, other, again = json.loads(run.stdout)["embeddings"]
    assert sum(value * value for value in first) == pytest.approx(1.0)
    assert again == pytest.approx(first, abs=1e-3)
    assert other != pytest.approx(first, abs=1e-2)


def test_generate_streams_plain_text(stack: RunningStack) -> None:
    """The same answer for people."""
    run = stack.cli("generate", "What is the capital of France?")
    assert run.returncode == 0, run.stderr
    assert "Paris" in run.stdout


def test_status_tells_what_runs_where(stack: RunningStack) -> None:
    """Operators ask before they act."""
    run = stack.cli("status", "--json")
    assert run.returncode == 0
    status = json.loads(run.stdout)
    assert len(status["replicas"]) == 2
    assert set(status["addresses"]) >= {"gateway", "http", "cache", "tokenizer", "fleet"}


def test_many_choices_and_a_stop_string(stack: RunningStack) -> None:
    """Choices are numbered; what follows a stop string is neither shown nor counted."""
    with stack.client() as client:
        whole = client.generate(messages=[{"role": "user", "content": "Count from 1 to 20."}], max_tokens=40)
        cut = client.generate(
            messages=[{"role": "user", "content": "Count from 1 to 20."}], max_tokens=40, stop=[whole.text[5:8]], n=2
        )
    assert [choice.text for choice in cut.choices] == [whole.text[: whole.text.index(whole.text[5:8])]] * 2
    assert cut.usage.completion_tokens < 2 * whole.usage.completion_tokens
