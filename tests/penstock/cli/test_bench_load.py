"""`penstock bench load` against a scripted gateway over real gRPC."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from fakes.command_line import Cli, Ran
from fakes.inference_server import Hold, Pause, ScriptedInference, Status, Step, delta, final, pocket_model, started

from penstock.inference.v1 import inference_pb2
from penstock_shared.errors import ResourceExhaustedError

WITHIN_S = 30.0
TOKEN_EVERY_S = 0.02

Load = Callable[..., Ran]


def paced(num_tokens: int) -> list[Step]:
    """An answer of so many tokens, one each 20 ms after the first."""
    tokens = [step for token in range(1, num_tokens) for step in (Pause(TOKEN_EVERY_S), delta("b", token))]
    return [started(), delta("a", 5), *tokens, final()]


@pytest.fixture
def server() -> Iterator[ScriptedInference]:
    """A gateway with the pace of a model."""
    with ScriptedInference(script=paced(4), models=[pocket_model()], max_concurrent=64) as scripted:
        yield scripted


@pytest.fixture
def load(cli: Cli, server: ScriptedInference) -> Load:
    """Runs the command against `server`."""
    return lambda *arguments: cli("bench", "load", "--address", server.address, *arguments)


def sent(server: ScriptedInference) -> list[inference_pb2.GenerationRequest]:
    """The generations that were asked for, in the order of their arrival."""
    return [seen.request.request for seen in server.calls("Generate")]


def report(ran: Ran) -> dict[str, Any]:
    """The JSON object on standard output."""
    fields: dict[str, Any] = json.loads(ran.out)
    return fields


def test_known_pace_is_measured(load: Load) -> None:
    """Twelve gaps of at least 20 ms, and no more than a busy machine adds."""
    ran = load("--requests", "4", "--concurrency", "2", "--json", "-")
    figures = report(ran)["figures"]
    assert (ran.code, figures["num_requests"], figures["num_ok"], figures["num_output_tokens"]) == (0, 4, 4, 16)
    gaps_s = figures["inter_token_latency_s"]
    assert gaps_s["count"] == 12
    assert TOKEN_EVERY_S * 0.9 < gaps_s["p50"] < 0.1
    assert figures["end_to_end_s"]["p50"] > figures["time_to_first_token_s"]["p50"] + 2 * TOKEN_EVERY_S
    assert (figures["cache"], figures["replicas"]) == ({"skipped": 4}, {"pocket-0": 4})
    assert figures["errors"] == {}


def test_requests_say_what_the_settings_say(load: Load, server: ScriptedInference) -> None:
    """Exact lengths in and out, no answer from the cache, a deadline on each request."""
    load("--requests", "3", "--prompt-tokens", "5", "--prefix-tokens", "7", "--output-tokens", "9", "--timeout", "20s")
    requests = sent(server)
    assert [len(request.input.token_ids.ids) for request in requests] == [12, 12, 12]
    assert len({tuple(request.input.token_ids.ids[:7]) for request in requests}) == 1
    for request in requests:
        assert (request.model, request.sampling.max_tokens, request.sampling.ignore_eos) == ("pocket", 9, True)
        assert request.cache.mode == inference_pb2.CACHE_MODE_BYPASS
        assert all(1024 <= token < 3072 for token in request.input.token_ids.ids)
    assert all(0 < (seen.time_remaining_s or 0) < 21 for seen in server.calls("Generate"))


def test_cache_is_used_where_asked_for(load: Load, server: ScriptedInference) -> None:
    """The cache can be put under load as well."""
    load("--requests", "1", "--cache")
    assert sent(server)[0].cache.mode == inference_pb2.CACHE_MODE_USE


def test_equal_seeds_send_equal_requests(load: Load, server: ScriptedInference) -> None:
    """What one version was given, the next can be given too."""
    for seed in ("3", "3", "4"):
        load("--requests", "2", "--concurrency", "1", "--seed", seed)
    first, again, other = (sent(server)[index : index + 2] for index in (0, 2, 4))
    assert first == again
    assert first != other


def test_turn_repeats_what_was_said_before(load: Load, server: ScriptedInference) -> None:
    """Prompt and answer of the first turn stand in front of the second."""
    load("--requests", "2", "--concurrency", "1", "--turns", "2", "--prompt-tokens", "6")
    first, second = (list(request.input.token_ids.ids) for request in sent(server))
    assert second[: len(first) + 4] == [*first, 5, 1, 2, 3]
    assert len(second) == len(first) + 4 + 6


def test_errors_are_counted_by_code_and_the_run_goes_on(load: Load, server: ScriptedInference) -> None:
    """Shed load is a figure, not a crash."""
    full = ResourceExhaustedError("the queue is full", quota="requests", retry_after_s=1.0)
    server.failures_first = [full, Status(grpc.StatusCode.DATA_LOSS, "bits fell out"), full]
    ran = load("--requests", "5", "--concurrency", "1", "--json", "-")
    figures = report(ran)["figures"]
    assert ran.code == 0
    assert figures["errors"] == {"RESOURCE_EXHAUSTED": 2, "DATA_LOSS": 1}
    assert figures["error_messages"]["DATA_LOSS"] == "bits fell out"
    assert (figures["num_ok"], figures["good_share"]) == (2, 0.4)
    assert "RESOURCE_EXHAUSTED: the queue is full" in ran.err


def test_request_that_takes_too_long_is_an_error(load: Load, server: ScriptedInference) -> None:
    """Its tokens were received; it was not answered."""
    server.script = [started(), delta("a", 5), Hold()]
    figures = report(load("--requests", "1", "--timeout", "500ms", "--json", "-"))["figures"]
    assert figures["errors"] == {"DEADLINE_EXCEEDED": 1}
    assert (figures["num_ok"], figures["num_output_tokens"], figures["end_to_end_s"]) == (0, 1, None)


def test_answers_beyond_the_slo_are_not_good(load: Load) -> None:
    """An answer takes 60 ms at least: none within 50 ms, all within a minute."""
    assert report(load("-n", "3", "--slo-e2e", "50ms", "--json", "-"))["figures"]["good_share"] == 0.0
    assert report(load("-n", "3", "--slo-e2e", "1m", "--json", "-"))["figures"]["good_share"] == 1.0


def test_open_loop_sends_although_nothing_is_answered(server: ScriptedInference, tmp_path: Path) -> None:
    """A slow server must not slow the arrivals down; that is what the open loop is for."""
    server.script = [started(), Hold()]
    arguments = ["--rate", "100", "--requests", "20", "--json", "-"]
    with _process(server, tmp_path, *arguments) as process:
        assert server.wait_until_seen(20, "Generate", WITHIN_S)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate()
    assert json.loads(out)["num_unfinished"] == 20


def test_open_loop_keeps_its_schedule(load: Load, server: ScriptedInference) -> None:
    """Of 30 answers of 60 ms each, due within 0.3 s, a closed loop of one would take 1.8 s."""
    fields = report(load("--rate", "100", "--requests", "30", "--json", "-"))
    assert fields["figures"]["num_ok"] == 30
    assert fields["figures"]["elapsed_s"] < 30 * 3 * TOKEN_EVERY_S
    assert (fields["settings"]["rate_per_s"], fields["settings"]["concurrency"]) == (100.0, None)


def test_closed_loop_has_no_more_under_way_than_asked_for(load: Load, server: ScriptedInference) -> None:
    """One at a time: five answers of 20 ms take five times as long."""
    server.script = paced(2)
    fields = report(load("--requests", "5", "--concurrency", "1", "--json", "-"))
    assert fields["figures"]["elapsed_s"] >= 5 * TOKEN_EVERY_S * 0.9


def test_duration_ends_the_run(load: Load) -> None:
    """Also where nothing is due any more: the quiet end counts."""
    fields = report(load("--rate", "0.001", "--duration", "300ms", "--json", "-"))
    assert fields["figures"]["num_requests"] == 0
    assert fields["figures"]["elapsed_s"] >= 0.3 * 0.9  # a timer may be early by its rounding


def _process(server: ScriptedInference, tmp_path: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "penstock", "bench", "load", "--address", server.address]
    return subprocess.Popen(
        [*command, "--state-dir", str(tmp_path), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_ctrl_c_prints_what_was_measured_so_far(server: ScriptedInference, tmp_path: Path) -> None:
    """Who has seen enough loses nothing, and nothing goes on at the server."""
    server.script = [started(), delta("a", 5), delta("b", 6), Hold()]
    server.failures_first = [Status(grpc.StatusCode.DATA_LOSS, "bits fell out")]
    with _process(server, tmp_path, "--concurrency", "2", "--duration", "10m", "--json", "-") as process:
        assert server.wait_until_seen(3, "Generate", WITHIN_S)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    fields = json.loads(out)
    assert (process.returncode, fields["is_interrupted"], fields["num_unfinished"]) == (130, True, 2)
    assert fields["figures"]["errors"] == {"DATA_LOSS": 1}
    assert "interrupted; 2 requests under way were cancelled and are not counted" in err
    assert server.is_gone.wait(WITHIN_S)


def test_table_and_files(load: Load, tmp_path: Path) -> None:
    """People read the table; scripts and papers take the files."""
    json_file, plot_file = tmp_path / "run.json", tmp_path / "run.png"
    ran = load("-n", "2", "--slo-ttft", "10s", "--json", str(json_file), "--plot", str(plot_file))
    for words in ("time to first token", "inter-token latency", "p99", "2 of 2 answered", "100.0% of requests"):
        assert words in ran.out
    assert "first token ≤ 10000 ms" in ran.out
    fields = json.loads(json_file.read_text())
    assert fields["settings"]["shape"]["prompt_tokens"] == "64-256"
    assert fields["environment"]["model"]["name"] == "pocket"
    assert set(fields["generator"]) >= {"cpu_share", "loop_lag_p99_s", "num_late"}
    assert plot_file.read_bytes().startswith(b"\x89PNG")


def test_plot_without_matplotlib_says_what_is_missing(
    load: Load, server: ScriptedInference, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no part of the installation, and is missed before the load rather than after it."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ran = load("--plot", "run.png")
    assert (ran.code, ran.err) == (1, "error: --plot needs matplotlib; install it with `pip install matplotlib`\n")
    assert server.calls("Generate") == []


@pytest.mark.parametrize("address", ["example.com:50051", "10.0.0.7:50051"])
def test_other_machines_are_not_loaded_by_accident(cli: Cli, address: str) -> None:
    """A typo must not become an attack."""
    ran = cli("bench", "load", "--address", address)
    assert ran.code == 1
    assert ran.err.startswith(f"error: {address} is not this machine")
    assert "--allow-remote" in ran.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rate", "2", "--concurrency", "2"], "give one of them"),
        (["--prompt-tokens", "some"], "got 'some'"),
        (["--duration", "soon"], "got 'soon'"),
    ],
)
def test_wrong_settings_are_exit_code_2(load: Load, arguments: list[str], words: str) -> None:
    """Before anything is sent."""
    ran = load(*arguments)
    assert ran.code == 2
    assert words in ran.err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--model", "nope"], "error: no model 'nope'; served: pocket\n"),
        (["--prefix-tokens", "600"], "error: a prefix of 600 tokens leaves no room in a context of 512\n"),
        (["--json", "/no/such/dir/run.json"], "error: cannot write /no/such/dir/run.json: there is no directory"),
    ],
)
def test_what_cannot_work_is_told_before_the_load(
    load: Load, server: ScriptedInference, arguments: list[str], line: str
) -> None:
    """Not after minutes."""
    ran = load(*arguments)
    assert (ran.code, ran.err[: len(line)]) == (1, line)
    assert server.calls("Generate") == []


def test_nothing_listening_says_how_to_start(cli: Cli, closed_port: int) -> None:
    """As the other commands do."""
    ran = cli("bench", "load", "--address", f"127.0.0.1:{closed_port}")
    assert (ran.code, ran.err) == (3, f"error: no gateway at 127.0.0.1:{closed_port}; start one with `penstock up`\n")
