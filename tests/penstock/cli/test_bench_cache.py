"""`penstock bench cache` against a cache service in memory over real gRPC."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from fakes.command_line import Cli, Ran
from fakes.word_cache import WordCache

from penstock.local.plan import Addresses
from penstock.local.process_id import ProcessId
from penstock.local.record import save_state
from penstock.local.state import Phase, StackState
from penstock_shared.credentials import METADATA_KEY, FleetCredential

CLASSES = {
    "price": ["what is the price of one ticket", "what is the price of a ticket", "ticket price one"],
    "prices": ["what is the price of ten tickets", "cost for ten of them"],
    "bread": ["how do I bake bread at home", "now how do I bake bread at home"],
}

Bench = Callable[..., Ran]


@pytest.fixture
def server() -> Iterator[WordCache]:
    """A cache that takes common words for meaning."""
    with WordCache() as cache:
        yield cache


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Seven prompts in three classes, two of which are near misses."""
    file = tmp_path / "data.jsonl"
    lines = [
        {
            "class": name,
            "family": "bread" if name == "bread" else "price",
            "domain": "shop",
            "prompt": prompt,
            "answer": f"the {name}" if not number else None,
        }
        for name, prompts in CLASSES.items()
        for number, prompt in enumerate(prompts)
    ]
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


@pytest.fixture
def bench(cli: Cli, server: WordCache, data: Path) -> Bench:
    """Runs the command against `server`."""
    return lambda *arguments: cli("bench", "cache", "--data", str(data), "--address", server.address, *arguments)


def report(ran: Ran) -> dict[str, Any]:
    """The JSON object that is all of standard output."""
    assert ran.code == 0, ran.err
    fields: dict[str, Any] = json.loads(ran.out)
    return fields


def test_every_request_is_judged_by_its_class(bench: Bench, server: WordCache) -> None:
    """The figures are those of a replay by hand over what the cache was asked and what it stored."""
    fields = report(bench("--json", "--seed", "5"))
    prompts = [lookup.key.prompt for lookup in server.lookups if lookup.max_error_rate]
    assert sorted(prompts) == sorted(prompt for each in CLASSES.values() for prompt in each)
    puts = [put for put in server.puts if put.key.prompt in prompts]
    assert fields["num_requests"] == 7
    assert fields["num_semantic_hits"] == 7 - len(puts)
    assert fields["num_misses"] == 1
    assert fields["num_semantic_hits"] + fields["num_explorations"] == fields["num_semantic_lookups"] == 6
    assert 0 < fields["num_wrong"] == fields["errors"]["family"] < fields["num_semantic_hits"]
    assert fields["hit_rate"] == fields["num_semantic_hits"] / 7
    assert fields["error_rate"] == fields["num_wrong"] / 6
    assert fields["precision"] == 1 - fields["wrong_per_served"]
    assert fields["oracle_hit_rate"] == fields["oracle_answered_rate"] == 4 / 7
    assert fields["answered_rate"] == fields["hit_rate"]
    assert 0 < fields["latency_ms"]["p50"] <= fields["latency_ms"]["p99"]
    assert (fields["num_audits"], fields["service_estimate"]["error_rate_bound"]) == (3, 0.5)
    assert (fields["seed"], fields["settings"]["traffic"]) == (5, "uniform")


def test_explorations_are_labelled_by_class(bench: Bench, server: WordCache) -> None:
    """With the token of their lookup; a miss has none, and no label."""
    report(bench("--json"))
    puts = [put for put in server.puts if put.answer.choices[0].text.startswith("the ")]
    assert not puts[0].exploration_token
    assert not puts[0].HasField("is_equivalent")
    explored = [put for put in puts[1:] if put.exploration_token == b"token"]
    assert explored == puts[1:]
    assert {put.is_equivalent for put in explored} <= {True, False}
    assert all(put.HasField("is_equivalent") for put in explored)


def test_production_labels_leave_the_comparison_to_the_service(bench: Bench, server: WordCache) -> None:
    """But for the share that is told falsely."""
    report(bench("--json", "--labels", "production"))
    assert not any(put.HasField("is_equivalent") for put in server.puts)
    server.puts.clear()
    labels = report(bench("--json", "--labels", "production", "--label-noise", "1"))["labels"]
    assert labels["num"] == labels["num_wrongly_equivalent"] + labels["num_wrongly_different"] > 0


def test_noise_is_the_opposite_of_the_class(bench: Bench) -> None:
    """A service that believes everything then has every label wrong."""
    labels = report(bench("--json", "--label-noise", "1"))["labels"]
    assert labels["num"] == labels["num_wrongly_equivalent"] + labels["num_wrongly_different"] > 0
    labels = report(bench("--json"))["labels"]
    assert labels["num_wrongly_equivalent"] + labels["num_wrongly_different"] == 0


def test_old_answers_are_wrong_after_a_drift(bench: Bench) -> None:
    """This cache never learns: it serves what it has."""
    fields = report(bench("--json", "--drift", "1", "--traffic", "zipf", "--requests", "200"))
    drift = fields["drift"]
    assert drift["num_wrong"] == drift["num_lookups"] > 0
    assert drift["num_stale_exact_hits"] > 0
    assert fields["errors"]["stale"] > 0
    assert fields["num_exact_hits"] + fields["num_semantic_lookups"] == 199


def test_comparison_replays_the_same_under_other_policies(bench: Bench, server: WordCache, tmp_path: Path) -> None:
    """Each under a tenant of its own, or the first would fill the cache of the next."""
    plot = tmp_path / "run.png"
    compared = report(bench("--json", "--compare", "--plot", str(plot)))["compared"]
    kinds = [next(iter(each["policy"])) for each in compared]
    assert {kind: kinds.count(kind) for kind in kinds} == {"max_error_rate": 4, "min_similarity": 6, "min_score": 7}
    assert all(each["num_requests"] == 7 and each["num_exact_hits"] == 0 for each in compared)
    by_similarity = {each["policy"]["min_similarity"]: each["hit_rate"] for each in compared[4:10]}
    assert by_similarity[0.97] == 0 < by_similarity[0.8]
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert len({lookup.key.tenant for lookup in server.lookups}) == 19  # one of them waited for the semantic layer


def test_nothing_is_left_behind(bench: Bench, server: WordCache) -> None:
    """Also where it ends in the middle."""
    bench("--json")
    assert set(server.removed) == {put.key.tenant for put in server.puts}
    assert all(tenant.startswith("bench-") for tenant in server.removed)


def test_people_get_a_table(bench: Bench) -> None:
    """The figures in words, the progress beside them on standard error."""
    ran = bench("--max-error-rate", "0.02")
    assert ran.code == 0
    assert "hit rate" in ran.out
    assert "at most 2.00%" in ran.out
    assert "7 of 7 requests" in ran.err


def test_running_stack_is_found_with_its_credential(cli: Cli, server: WordCache, data: Path, state_dir: Path) -> None:
    """As `penstock up` leaves it in the state directory."""
    credential = FleetCredential.create(state_dir / "fleet.credential")
    addresses = Addresses("127.0.0.1:1", "127.0.0.1:2", server.address, "127.0.0.1:4", "127.0.0.1:5", "127.0.0.1:6")
    me = ProcessId.of(1)
    assert me is not None
    save_state(state_dir / "stack.json", StackState(Phase.READY, me, 0.0, "pocket", "/models/pocket", 1, addresses))
    report(cli("bench", "cache", "--data", str(data), "--json"))
    assert server.metadata[METADATA_KEY] == credential.secret


def test_without_a_stack_the_way_out_is_told(cli: Cli, data: Path) -> None:
    """One line, and the exit code of what is not there."""
    ran = cli("bench", "cache", "--data", str(data))
    assert ran.code == 3
    assert "start a stack with `penstock up`, or name a cache service with --address" in ran.err
    ran = cli("bench", "cache", "--data", str(data), "--address", "127.0.0.1:1")
    assert (ran.code, ran.err) == (3, "error: no cache service at 127.0.0.1:1; start a stack with `penstock up`\n")


def test_service_without_a_semantic_layer_is_told(
    bench: Bench, server: WordCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hit rate of zero would be no result."""
    monkeypatch.setattr("penstock.cli.bench_cache._PATIENCE_S", 0.0)
    server.finds_meaning = False
    ran = bench()
    assert ran.code == 1
    assert "finds nothing by meaning: by the very same only; it needs the extra `semantic`" in ran.err
    assert len(server.removed) == 1


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "as told; give the fleet credential with --credential-file"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "the cache service at {address}: as told"),
        (grpc.StatusCode.INTERNAL, "the cache service at {address} failed: as told; see `penstock logs cache`"),
    ],
)
def test_failed_call_is_one_line(bench: Bench, server: WordCache, code: grpc.StatusCode, told: str) -> None:
    """With what to do about it."""
    server.failure = code
    ran = bench()
    assert (ran.code, ran.err) == (1, f"error: {told.format(address=server.address)}\n")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--requests", "8"], 1, "error: --requests: got 8; allowed: at most 7"),
        (["--max-error-rate", "0"], 2, "0 allows exact hits only"),
        (["--max-error-rate", "1.5"], 2, "--max-error-rate"),
        (["--label-noise", "-1"], 2, "--label-noise"),
        (["--traffic", "burst"], 2, "--traffic"),
        (["--plot", "/nowhere/run.png"], 1, "there is no directory /nowhere"),
        (["--address", "192.0.2.1:50052"], 1, "192.0.2.1:50052 is not this machine"),
        (["--credential-file", "/nowhere"], 1, "fleet credential /nowhere: No such file"),
    ],
)
def test_wrong_options_are_told(bench: Bench, arguments: list[str], code: int, told: str) -> None:
    """Before anything is asked."""
    ran = bench(*arguments)
    assert ran.code == code
    assert told in " ".join(ran.err.replace("│", " ").split())


def test_wrong_file_is_told_by_its_line(bench: Bench, data: Path) -> None:
    """Name, line and field."""
    data.write_text(data.read_text() + '\n{"class": 7}')
    ran = bench()
    assert ran.code == 1
    assert f"error: {data}, line 8: class: got 7; allowed: a string that is not empty" in ran.err
