"""`penstock generate` against a scripted gateway over real gRPC."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import grpc
import pytest
from fakes.command_line import Cli
from fakes.inference_server import (
    TRACE_ID,
    Hold,
    ScriptedInference,
    delta,
    final,
    finished,
    pocket_model,
    prompt_logprobs,
    started,
)
from fakes.span_collector import span_collector
from google.protobuf.duration_pb2 import Duration

from penstock.cli.generate import figures
from penstock.client import Client
from penstock.inference.v1 import inference_pb2
from penstock.local.plan import Addresses
from penstock.local.ports import Ports
from penstock.local.process_id import ProcessId
from penstock.local.record import save_state
from penstock.local.state import Phase, StackState
from penstock.types.v1 import types_pb2
from penstock_shared.errors import InvalidArgumentError, ResourceExhaustedError, UnavailableError

PENSTOCK = [sys.executable, "-m", "penstock"]
GONE_WITHIN_S = 10.0


def sent(server: ScriptedInference) -> inference_pb2.GenerationRequest:
    """The generation that the server was asked for."""
    (seen,) = (seen for seen in server.seen if seen.method in ("Generate", "Complete"))
    request: inference_pb2.GenerationRequest = seen.request.request
    return request


def test_answer_alone_goes_to_standard_output(cli: Cli, server: ScriptedInference) -> None:
    """The output can be piped on as it is."""
    ran = cli("generate", "What is the capital of France?", "--address", server.address)
    assert (ran.code, ran.out, ran.err) == (0, "Paris.\n", "")


def test_json_has_every_field(cli: Cli, server: ScriptedInference) -> None:
    """Scripts rely on these names."""
    ran = cli("generate", "What is the capital of France?", "--json", "--address", server.address)
    answer = json.loads(ran.out)
    assert (ran.code, ran.out.count("\n")) == (0, 1)
    assert (answer["text"], answer["token_ids"], answer["finish_reason"]) == ("Paris.", [11, 12], "stop")
    assert answer["usage"] == {"prompt_tokens": 8, "completion_tokens": 2, "cached_prompt_tokens": 4}
    assert (answer["timings"]["total_s"], answer["timings"]["decode_s"]) == (0.012, None)
    assert (answer["replica"], answer["routing_reason"]) == ("pocket-0", "least loaded")
    assert answer["cache"] == {
        "outcome": "skipped",
        "score": None,
        "max_error_rate": None,
        "reason": "no cache",
        "similarity": None,
        "error_bound": None,
    }
    assert (answer["trace_id"], answer["request_id"]) == (TRACE_ID, "req-1")
    assert (answer["model"], answer["model_revision"], answer["prompt_tokens"]) == ("pocket", "r1", 8)
    assert answer["sampling"]["seed"] == 7


def test_prompt_is_a_chat_message_where_the_model_has_a_template(cli: Cli, server: ScriptedInference) -> None:
    """A chat model answers a question only when it is asked as in training."""
    cli("generate", "Hi", "--address", server.address)
    (message,) = sent(server).input.chat.messages
    assert (message.role, message.content) == ("user", "Hi")


@pytest.mark.parametrize("has_template", [True, False])
def test_prompt_is_text_where_raw_or_without_a_template(
    cli: Cli, server: ScriptedInference, has_template: bool
) -> None:
    """A base model goes on with the text that it is given."""
    server.models = [pocket_model(has_template=has_template)]
    cli("generate", "Once", "--address", server.address, *(["--raw"] if has_template else []))
    assert sent(server).input == inference_pb2.Input(text="Once")


def test_options_reach_the_server(cli: Cli, server: ScriptedInference) -> None:
    """Each flag means its field."""
    flags = ["--model", "pocket", "--max-tokens", "7", "--temperature", "0", "--seed", "9"]
    given = ("--stop", "a", "--stop", "b", "--no-cache", "--adapter", "law", "--address", server.address)
    cli("generate", "Hi", *flags, *given)
    request = sent(server)
    assert request.adapter == "law"
    sampling = request.sampling
    assert (request.model, sampling.max_tokens, sampling.seed) == ("pocket", 7, 9)
    assert sampling.HasField("temperature")
    assert (sampling.temperature, list(sampling.stop)) == (0.0, ["a", "b"])
    assert request.cache.mode == inference_pb2.CACHE_MODE_BYPASS


def test_every_sampling_option_has_a_flag(cli: Cli, server: ScriptedInference) -> None:
    """What the contract offers can be asked for without writing code."""
    flags = (
        "--temperature 0.5 --top-p 0.75 --top-k 4 --min-p 0.25 --repetition-penalty 1.5 --presence-penalty 0.5"
        " --frequency-penalty -0.5 --seed 9 -n 2 --max-tokens 7 --min-tokens 3 --stop x --stop-token-id 5"
        " --stop-token-id 6 --logit-bias 8=-100 --logit-bias 9=2.5 --logprobs 0 --prompt-logprobs 2 --ignore-eos"
    )
    cli("generate", "Hi", *flags.split(), "--address", server.address)
    sampling = sent(server).sampling
    assert sampling == types_pb2.SamplingParams(
        temperature=0.5,
        top_p=0.75,
        top_k=4,
        min_p=0.25,
        repetition_penalty=1.5,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        seed=9,
        n=2,
        max_tokens=7,
        min_tokens=3,
        stop=["x"],
        stop_token_ids=[5, 6],
        logit_bias={8: -100, 9: 2.5},
        logprobs=0,
        prompt_logprobs=2,
        ignore_eos=True,
    )
    assert {field.name for field, _ in sampling.ListFields()} == set(types_pb2.SamplingParams.DESCRIPTOR.fields_by_name)


def test_the_cache_policy_has_flags(cli: Cli, server: ScriptedInference) -> None:
    """Each means its field; ids of tokens are asked for only where somebody wants them."""
    flags = "--refresh --cache-max-error-rate 0.02 --cache-scope team --cache-ttl 2m --cache-tag a --cache-tag b"
    cli("generate", "Hi", *flags.split(), "--address", server.address)
    request = sent(server)
    assert request.cache == inference_pb2.CachePolicy(
        mode=inference_pb2.CACHE_MODE_REFRESH,
        ttl=Duration(seconds=120),
        tags=["a", "b"],
        max_error_rate=0.02,
        scope="team",
    )
    assert {field.name for field, _ in request.cache.ListFields()} == set(
        inference_pb2.CachePolicy.DESCRIPTOR.fields_by_name
    )
    assert not request.return_token_ids


def test_token_ids_are_asked_for_by_a_flag(cli: Cli, server: ScriptedInference) -> None:
    """They keep the cache from giving another wording's answer."""
    cli("generate", "Hi", "--token-ids", "--json", "--address", server.address)
    assert sent(server).return_token_ids


@pytest.mark.parametrize(
    ("flags", "told"),
    [(["--no-cache", "--refresh"], "one of them"), (["--cache-ttl", "soon"], "got 'soon'; allowed: a time above 0")],
)
def test_a_policy_that_is_none_says_what_is_allowed(
    cli: Cli, server: ScriptedInference, flags: list[str], told: str
) -> None:
    """Before anything is sent."""
    ran = cli("generate", "Hi", *flags, "--address", server.address)
    assert (ran.code, told in " ".join(ran.err.split()), server.seen) == (2, True, [])


def test_a_bias_that_is_none_says_what_is_allowed(cli: Cli, server: ScriptedInference) -> None:
    """Before anything is sent."""
    ran = cli("generate", "Hi", "--logit-bias", "8:1", "--address", server.address)
    assert ran.code == 2
    assert "got '8:1'; allowed: ID=VALUE" in ran.err
    assert not server.seen


def test_every_choice_is_printed(cli: Cli, server: ScriptedInference) -> None:
    """Who asks for two answers sees two."""
    other = [delta("Lyon.", 9, choice=1), finished(choice=1)]
    server.script = [started(), prompt_logprobs(4), delta("Paris.", 11), *other, finished(), final()]
    assert cli("generate", "Hi", "-n", "2", "--address", server.address).out == "Paris.\n\nLyon.\n"
    answer = json.loads(cli("generate", "Hi", "-n", "2", "--json", "--address", server.address).out)
    assert [choice["text"] for choice in answer["choices"]] == ["Paris.", "Lyon."]
    assert answer["prompt_logprobs"] == [{"token_id": 4, "logprob": -1.0, "top": [{"token_id": 9, "logprob": -0.25}]}]


def test_absent_options_stay_absent(cli: Cli, server: ScriptedInference) -> None:
    """The model's own defaults hold where nothing is said."""
    cli("generate", "Hi", "--address", server.address)
    assert not sent(server).sampling.ListFields()


def test_prompt_comes_from_standard_input(cli: Cli, server: ScriptedInference, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long prompts live in files."""
    monkeypatch.setattr(sys, "stdin", StringIO("from a pipe"))
    cli("generate", "-", "--raw", "--address", server.address)
    assert sent(server).input.text == "from a pipe"


def test_local_stack_is_found_by_its_record(cli: Cli, server: ScriptedInference, state_dir: Path) -> None:
    """Nobody types the address of a stack on any free port."""
    addresses = replace(Addresses.on_loopback(Ports()), gateway=server.address)
    state = StackState(Phase.READY, ProcessId(1, ""), 0.0, "pocket", "/m", 1, addresses)
    save_state(state_dir / "stack.json", state)
    assert cli("generate", "Hi").out == "Paris.\n"


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_nothing_listening_says_how_to_start(cli: Cli, closed_port: int, flags: list[str]) -> None:
    """The first thing that everybody gets wrong must explain itself."""
    ran = cli("generate", "Hi", *flags, "--address", f"127.0.0.1:{closed_port}")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err == f"error: no gateway at 127.0.0.1:{closed_port}; start one with `penstock up`\n"


@pytest.mark.parametrize(
    ("raised", "line"),
    [
        (InvalidArgumentError("temperature", 9.0, "0 to 2"), "error: temperature: got 9.0; allowed: 0 to 2"),
        (
            ResourceExhaustedError("the queue is full", quota="requests", retry_after_s=1.5),
            "error: the queue is full; try again in 1.5 s",
        ),
        (UnavailableError("no replica is ready"), "error: no replica is ready"),
    ],
)
def test_error_of_the_server_is_one_line(cli: Cli, server: ScriptedInference, raised: Exception, line: str) -> None:
    """What is wrong and what is allowed, without a traceback."""
    server.script = [raised]  # type: ignore[list-item]
    ran = cli("generate", "Hi", "--address", server.address)
    assert (ran.code, ran.err) == (1, f"{line}\n")


def test_value_that_no_message_can_hold_is_one_line(cli: Cli, server: ScriptedInference) -> None:
    """It is told before anything is sent."""
    ran = cli("generate", "Hi", "--max-tokens", str(2**40), "--address", server.address)
    assert ran.code == 1
    assert ran.err.startswith(f"error: max_tokens: got {2**40}; ")
    assert ran.err.count("\n") == 1


def test_timeout_says_what_it_was(cli: Cli, server: ScriptedInference) -> None:
    """The way out stands in the message, and what had come stays."""
    server.script = [started(), delta("Par", 11), Hold()]
    ran = cli("generate", "Hi", "--timeout", "0.5", "--address", server.address)
    assert (ran.code, ran.out) == (1, "Par")
    assert ran.err == "error: no whole answer within 0.5 s; allow more with --timeout\n"


def test_text_streams_and_ctrl_c_cancels_the_generation(server: ScriptedInference, tmp_path: Path) -> None:
    """The first word shows at once; who has read enough leaves nothing running."""
    server.script = [started(), delta("Par", 11), Hold()]
    arguments = ["generate", "Hi", "--address", server.address, "--state-dir", str(tmp_path)]
    with subprocess.Popen([*PENSTOCK, *arguments], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(3) == b"Par"
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    assert server.is_gone.wait(GONE_WITHIN_S)


def test_trace_begins_at_the_command(server: ScriptedInference, tmp_path: Path) -> None:
    """One trace shows the whole way, from what the user typed."""
    with span_collector() as collector:
        environment = {**os.environ, "PENSTOCK_OTLP_ENDPOINT": collector.endpoint}
        arguments = ["generate", "Hi", "--address", server.address, "--state-dir", str(tmp_path)]
        subprocess.run([*PENSTOCK, *arguments], env=environment, check=True, capture_output=True)
        spans = {span.name: span for span in collector.wait_for(lambda spans: len(spans) == 3)}
    root, call = spans["penstock generate"], spans["penstock.inference.v1.InferenceService/Generate"]
    assert (root.service, root.parent_id) == ("penstock-cli", "")
    assert (call.trace_id, call.parent_id) == (root.trace_id, root.span_id)
    (seen,) = (seen for seen in server.seen if seen.method == "Generate")
    assert seen.metadata["traceparent"].startswith(f"00-{root.trace_id}-{call.span_id}-")


def test_figures_are_one_line_for_people(server: ScriptedInference) -> None:
    """Shown on a terminal below the answer."""
    with Client(server.address) as client:
        answer = client.generate("Hi")
    assert figures(answer) == "2 tokens · stop · first token 3 ms · total 12 ms · pocket on pocket-0"


@pytest.mark.parametrize(
    ("outcome", "score", "told"),
    [
        (inference_pb2.CACHE_OUTCOME_EXACT_HIT, None, "cache: the same request"),
        (inference_pb2.CACHE_OUTCOME_SEMANTIC_HIT, 0.984, "cache: another wording (score 0.98)"),
        (inference_pb2.CACHE_OUTCOME_EXPLORED, 0.5, "cache: another wording, not trusted (score 0.50)"),
    ],
)
def test_figures_say_what_the_cache_did(
    server: ScriptedInference, outcome: inference_pb2.CacheOutcome.ValueType, score: float | None, told: str
) -> None:
    """An answer that no model gave is not taken for one that it did."""
    cache = inference_pb2.CacheReport(outcome=outcome, score=score, error_bound=0.01, similarity=0.9)
    server.script = [started(cache=cache), *server.script[1:]]
    with Client(server.address) as client:
        answer = client.generate("Hi")
    assert (answer.cache.score, answer.cache.error_bound, answer.cache.similarity) == (score, 0.01, 0.9)
    assert figures(answer).endswith(f" · {told}")


def test_when_to_come_back_is_told_once(cli: Cli, server: ScriptedInference) -> None:
    """Where the message says it, nothing is added."""
    server.script = [ResourceExhaustedError("used up; try again in 2 s", quota="q", retry_after_s=2.0)]
    ran = cli("generate", "Hi", "--address", server.address)
    assert (ran.code, ran.err) == (1, "error: used up; try again in 2 s\n")


def test_unexpected_status_of_a_proxy_is_one_line_too(cli: Cli, server: ScriptedInference) -> None:
    """Whatever stands at the address, nobody gets a traceback."""
    server.failures_first = []
    server.script = [ResourceExhaustedError("message larger than max", quota="bytes", retry_after_s=0.0)]
    ran = cli("generate", "Hi", "--address", server.address)
    assert (ran.code, ran.err) == (1, "error: message larger than max; try again in 0 s\n")
    assert grpc.StatusCode.RESOURCE_EXHAUSTED.name not in ran.err


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--json-schema", '{"type": "null"}'], types_pb2.Constraint(json_schema='{"type": "null"}')),
        (["--json-schema", "{dir}/schema.json"], types_pb2.Constraint(json_schema='{"type": "object"}')),
        (["--json-schema", "true"], types_pb2.Constraint(json_schema="true")),
        (["--json-schema", "true_facts.json"], types_pb2.Constraint(json_schema='{"type": "object"}')),
        (["--regex", "[a-z]+"], types_pb2.Constraint(regex="[a-z]+")),
        (["--grammar", "{dir}/grammar.lark"], types_pb2.Constraint(grammar='start: "a"')),
        (["--choice", "yes", "--choice", "no"], types_pb2.Constraint(choice={"options": ["yes", "no"]})),
    ],
)
def test_every_constraint_has_a_flag(
    cli: Cli,
    server: ScriptedInference,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    flags: list[str],
    expected: types_pb2.Constraint,
) -> None:
    """Schemas and grammars are mostly files; a schema may stand in the command itself."""
    monkeypatch.chdir(tmp_path)
    for name in ("schema.json", "true_facts.json"):
        (tmp_path / name).write_text('{"type": "object"}')
    (tmp_path / "grammar.lark").write_text('start: "a"')
    ran = cli("generate", "Hi", *(flag.replace("{dir}", str(tmp_path)) for flag in flags), "--address", server.address)
    assert (ran.code, sent(server).constraint) == (0, expected)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--regex", "a", "--choice", "b"], "got --regex and --choice; allowed: one of"),
        (["--json-schema", "/nowhere/schema.json"], "No such file"),
    ],
)
def test_constraint_that_cannot_be_asked_for_is_a_usage_error(
    cli: Cli, server: ScriptedInference, flags: list[str], words: str
) -> None:
    """Nothing is sent; the command says what is wrong with the flags."""
    ran = cli("generate", "Hi", *flags, "--address", server.address)
    assert ran.code == 2
    assert words in " ".join(ran.err.replace("│", " ").split())
    assert server.seen == []
