"""`penstock cache` against a scripted gateway's port for operators."""

import json
from collections.abc import Callable, Iterator
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
from fakes.admin_server import ScriptedAdmin
from fakes.command_line import Cli, Ran

from penstock.admin.v1 import admin_pb2
from penstock.cache.v1 import cache_pb2
from penstock.inference.v1 import inference_pb2
from penstock.types.v1 import types_pb2
from penstock_shared.credentials import FleetCredential
from penstock_shared.errors import FailedPreconditionError, UnavailableError

Cache = Callable[..., Ran]
EXPLORE = cache_pb2.LOOKUP_OUTCOME_EXPLORE
CANDIDATE = cache_pb2.Candidate(
    entry_id="7",
    prompt="Capital\nof \x1b[31mItaly?",
    cluster="c",
    similarity=0.912,
    score=0.5,
    outcome=EXPLORE,
    reason="too new",
)
ROMA = cache_pb2.CachedChoice(text="Roma", token_ids=[1, 2], finish_reason=types_pb2.FINISH_REASON_STOP)
RECORDS = [
    cache_pb2.CacheRecord(
        entry=cache_pb2.EntryRecord(
            exact_digest=b"\x00\xff",
            prompt="Che \x9b31m città \u202e?",
            answer=cache_pb2.CachedAnswer(choices=[ROMA]),
            tags=["a"],
        )
    ),
    cache_pb2.CacheRecord(label=cache_pb2.LabelRecord(model="pocket", score=1.5, is_correct=True, propensity=0.25)),
]


@pytest.fixture
def admin(state_dir: Path) -> Iterator[ScriptedAdmin]:
    """A gateway's port for operators, and the credential where the commands look for it."""
    FleetCredential.create(state_dir / "fleet.credential")
    with ScriptedAdmin(models=[admin_pb2.ModelStatus(name="pocket", has_chat_template=True)]) as scripted:
        yield scripted


@pytest.fixture
def cache(cli: Cli, admin: ScriptedAdmin, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """Runs `penstock cache ARGUMENTS` there."""
    monkeypatch.setenv("PENSTOCK_ADMIN_ADDRESS", admin.address)
    return lambda *arguments: cli("cache", *arguments)


def test_the_statistics_are_told_in_words_and_in_json(cache: Cache, admin: ScriptedAdmin, state_dir: Path) -> None:
    """A person reads shares, a script numbers; what is not known is not 0."""
    admin.stats = cache_pb2.GetStatsResponse(
        num_entries=2, num_semantic_lookups=100, error_rate=0.004, error_rate_bound=0.0093
    )
    told = cache("stats", "--tenant", "acme").out
    assert "0.40% of what was compared, at most 0.93% (95 %)" in told
    assert "2 answers, 0.0 MB" in told
    assert admin.seen == [admin_pb2.GetCacheStatsRequest(tenant="acme")]
    credential = FleetCredential.load(state_dir / "fleet.credential")
    assert dict(credential.metadata()).items() <= admin.metadata.items()
    fields = json.loads(cache("stats", "--json").out)
    assert set(fields) == set(cache_pb2.GetStatsResponse.DESCRIPTOR.fields_by_name)
    assert (fields["num_semantic_lookups"], fields["error_rate"], fields["wrong_per_served"]) == (100, 0.004, None)
    admin.stats = cache_pb2.GetStatsResponse()
    assert "not known: nothing was audited" in cache("stats").out


def test_a_question_is_explained_as_generate_would_ask_it(cache: Cache, admin: ScriptedAdmin) -> None:
    """Another request would have another explanation."""
    flags = "--model pocket --max-tokens 7 --temperature 0 --stop x --adapter law --choice yes"
    cache(
        "explain", "Hi", "--tenant", "acme", "--system", "Be brief.", *flags.split(), "--cache-max-error-rate", "0.02"
    )
    cache("explain", "Once", "--raw", "--cache-scope", "team")
    chat, raw = admin.seen
    assert chat.tenant == "acme"
    assert chat.request == inference_pb2.GenerationRequest(
        model="pocket",
        input={"chat": {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]}},
        sampling={"max_tokens": 7, "temperature": 0, "stop": ["x"]},
        constraint={"choice": {"options": ["yes"]}},
        adapter="law",
        cache={"mode": inference_pb2.CACHE_MODE_USE, "max_error_rate": 0.02},
    )
    assert (raw.request.input.text, raw.request.cache.scope) == ("Once", "team")
    admin.models[0].has_chat_template = False
    cache("explain", "Once")
    assert admin.seen[-1].request.input.text == "Once"


def test_candidates_are_shown_with_what_decides_and_why(cache: Cache, admin: ScriptedAdmin) -> None:
    """Strangers' prompts stand on one line each and move no cursor."""
    explanation = cache_pb2.ExplainResponse(outcome=EXPLORE, reason="not sure yet", candidates=[CANDIDATE])
    admin.explanation = admin_pb2.ExplainCacheResponse(explanation=explanation, max_error_rate=0.01)
    told = cache("explain", "Hi").out
    assert told.splitlines() == [
        "explore: not sure yet",
        "at most 1.00% of what is compared may be wrong",
        "",
        "Capital\\nof \\u001b[31mItaly?",
        "  explore: too new",
        "  similarity 0.912, score 0.500; entry 7",
    ]
    fields = json.loads(cache("explain", "Hi", "--json").out)
    assert (fields["outcome"], fields["reason"], fields["max_error_rate"]) == ("explore", "not sure yet", 0.01)
    assert fields["candidates"] == [
        {
            "entry_id": "7",
            "prompt": CANDIDATE.prompt,
            "cluster": "c",
            "similarity": 0.912,
            "score": 0.5,
            "error_bound": None,
            "outcome": "explore",
            "reason": "too new",
        }
    ]


def test_why_meaning_does_not_count_is_told(cache: Cache, admin: ScriptedAdmin) -> None:
    """The most frequent answer to the most frequent question."""
    miss = cache_pb2.ExplainResponse(outcome=cache_pb2.LOOKUP_OUTCOME_MISS, reason="nothing is stored")
    admin.explanation = admin_pb2.ExplainCacheResponse(explanation=miss, restriction="a seed asks for its own sample")
    expected = "miss: nothing is stored\nonly the very same request counts: a seed asks for its own sample\n"
    assert cache("explain", "Hi").out == expected
    admin.explanation = admin_pb2.ExplainCacheResponse(restriction="the request says bypass")
    assert cache("explain", "Hi").out == "the cache is not asked: the request says bypass\n"
    assert json.loads(cache("explain", "Hi", "--json").out)["outcome"] is None


@pytest.mark.parametrize(
    ("flags", "fields"),
    [
        (["--tag", "a", "--tag", "b"], {"tags": ["a", "b"]}),
        (["--entry", "7"], {"entry_id": "7"}),
        (["--model-revision", "r1"], {"model_revision": "r1"}),
        (["--all"], {"all": True}),
    ],
)
def test_answers_are_removed_as_chosen(
    cache: Cache, admin: ScriptedAdmin, flags: list[str], fields: dict[str, object]
) -> None:
    """Each flag is its selector, of the tenant that is named."""
    assert cache("invalidate", "--tenant", "acme", *flags).out == "removed 2 answers of tenant acme\n"
    assert admin.seen == [admin_pb2.InvalidateCacheRequest(tenant="acme", **fields)]
    assert json.loads(cache("invalidate", "--json", *flags).out) == {"num_removed": 2}


@pytest.mark.parametrize(("flags", "got"), [([], "nothing"), (["--all", "--entry", "7"], "--entry and --all")])
def test_a_removal_that_says_too_little_or_too_much_is_refused(
    cache: Cache, admin: ScriptedAdmin, flags: list[str], got: str
) -> None:
    """A forgotten flag must not empty the cache."""
    ran = cache("invalidate", *flags)
    assert (ran.code, admin.seen) == (1, [])
    assert ran.err == f"error: got {got}; allowed: one of --tag, --entry, --model-revision, --all\n"


def test_an_export_can_be_read_by_eye_and_imported(cache: Cache, admin: ScriptedAdmin, tmp_path: Path) -> None:
    """All of it comes back, and nothing in it moves the cursor or turns the reading round."""
    admin.records = RECORDS
    file = tmp_path / "answers.jsonl"
    assert cache("export", str(file), "--tenant", "acme").out == f"wrote 2 records to {file}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    text = file.read_text("utf-8")
    assert all(line.isprintable() for line in text.splitlines())
    assert '"prompt": "Che \\u009b31m città \\u202e?"' in text
    assert json.loads(text.splitlines()[0]) == {"penstock_cache_export": 1, "tenant": "acme"}
    assert [path.name for path in tmp_path.glob("*.jsonl*")] == ["answers.jsonl"]
    admin.seen.clear()
    assert cache("import", str(file)).out == "kept 2 answers and 0 comparisons of tenant acme\n"
    assert admin.seen == [admin_pb2.ImportCacheRequest(tenant="acme", record=record) for record in RECORDS]


def test_an_export_goes_through_a_pipe(cache: Cache, admin: ScriptedAdmin, monkeypatch: pytest.MonkeyPatch) -> None:
    """From one stack to another without a file."""
    admin.records = RECORDS
    exported = cache("export", "-")
    assert (len(exported.out.splitlines()), exported.err) == (3, "wrote 2 records to -\n")
    admin.seen.clear()
    admin.num_refused = 1
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(exported.out.encode())))
    told = json.loads(cache("import", "-", "--json").out)
    assert told == {"tenant": "default", "num_entries": 1, "num_labels": 0, "num_already_there": 0, "num_refused": 1}


def test_an_import_says_what_was_there_already(cache: Cache, admin: ScriptedAdmin, tmp_path: Path) -> None:
    """Nothing is wrong with a record that need not be kept twice."""
    admin.records = [*RECORDS, *RECORDS]
    file = str(tmp_path / "answers.jsonl")
    cache("export", file)
    admin.seen.clear()
    admin.num_already_there, admin.num_refused = 2, 1
    told = "kept 1 answers and 0 comparisons of tenant default; 2 were there already; refused 1\n"
    assert cache("import", file).out == told


def test_an_export_that_breaks_leaves_no_file(cache: Cache, admin: ScriptedAdmin, tmp_path: Path) -> None:
    """Half of a cache would pass for all of it."""
    admin.records = RECORDS
    admin.failure = UnavailableError("the cache failed: UNAVAILABLE: away")
    (tmp_path / "answers.jsonl").write_text("the last one")
    ran = cache("export", str(tmp_path / "answers.jsonl"))
    assert (ran.code, ran.err) == (1, "error: the cache failed: UNAVAILABLE: away\n")
    assert (tmp_path / "answers.jsonl").read_text() == "the last one"
    assert not list(tmp_path.glob(".answers*"))


HEADER = '{"penstock_cache_export": 1, "tenant": "acme"}'


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], ':1: got \'\'; allowed: {"penstock_cache_export": 1, "tenant": NAME}'),
        (['{"entry": {}}'], ":1: got '{\"entry\": {}}'; allowed: "),
        (['{"penstock_cache_export": 2, "tenant": "acme"}'], ":1: got "),
        ([HEADER, '{"entry": {}}', "{"], ":3: got '{'; "),
        ([HEADER, '{"entry": {"pormpt": "x"}}'], ':2: got \'{"entry": {"pormpt": "x"}}\'; '),
        ([HEADER, "{}"], ":2: got '{}'; allowed: an entry or a label"),
        ([HEADER, "[" * 5000], ":2: got '[[["),
        ([HEADER, "7"], ":2: got '7'; "),
    ],
)
def test_a_file_that_is_no_export_is_refused_by_its_line(
    cache: Cache, admin: ScriptedAdmin, tmp_path: Path, lines: list[str], told: str
) -> None:
    """Before anything of it is kept."""
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(f"{line}\n" for line in lines))
    ran = cache("import", str(file))
    assert (ran.code, ran.err.startswith(f"error: {file}{told}"), admin.seen) == (1, True, []), ran.err
    assert ran.err.count("\n") == 1


def test_an_export_of_nothing_is_imported(cache: Cache, admin: ScriptedAdmin, tmp_path: Path) -> None:
    """Scripts need not treat an empty cache apart."""
    (tmp_path / "answers.jsonl").write_text(f"{HEADER}\n")
    ran = cache("import", str(tmp_path / "answers.jsonl"))
    assert (ran.code, ran.out, admin.seen) == (0, "kept 0 answers and 0 comparisons of tenant acme\n", [])


def test_files_that_cannot_be_used_are_told(cache: Cache, tmp_path: Path) -> None:
    """With the file and the reason."""
    missing = tmp_path / "no" / "answers.jsonl"
    for command, verb in (("import", "read"), ("export", "write")):
        ran = cache(command, str(missing))
        assert (ran.code, ran.err) == (1, f"error: cannot {verb} {missing}: No such file or directory\n")


def test_what_the_gateway_says_no_to_is_one_line(cache: Cache, admin: ScriptedAdmin) -> None:
    """In its own words."""
    admin.failure = FailedPreconditionError("this gateway has no cache")
    for arguments in (["stats"], ["explain", "Hi"], ["invalidate", "--all"]):
        ran = cache(*arguments)
        assert (ran.code, ran.err) == (1, "error: this gateway has no cache\n")


def test_where_nobody_listens_is_told(cli: Cli, state_dir: Path) -> None:
    """By exit code 3, as for every command that finds nothing; another machine is never asked."""
    ran = cli("cache", "stats")
    assert (ran.code, "start it with `penstock up`" in ran.err) == (3, True)
    FleetCredential.create(state_dir / "fleet.credential")
    ran = cli("cache", "stats", "--admin-address", "127.0.0.1:1")
    assert (ran.code, ran.err) == (3, "error: no gateway's port for operators at 127.0.0.1:1\n")
    ran = cli("cache", "stats", "--admin-address", "10.1.2.3:50055")
    assert (ran.code, "the fleet credential goes unencrypted" in ran.err) == (1, True)


def test_the_help_teaches(cli: Cli) -> None:
    """Somebody who has read nothing else knows what to type next."""
    ran = cli("cache", "--help")
    assert 'penstock cache explain "Which city is Italy\'s capital?"' in ran.out
    for command in ("stats", "explain", "invalidate", "export", "import"):
        assert f"penstock cache {command}" in cli("cache", command, "--help").out
