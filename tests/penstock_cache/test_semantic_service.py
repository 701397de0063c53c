"""The RPCs where prompts are compared by meaning, over loopback and a real store."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from fakes.semantic_layer import SemanticParts

from penstock.cache.v1 import cache_pb2, cache_pb2_grpc
from penstock.types.v1 import types_pb2
from penstock_cache.database_store import DatabaseStore
from penstock_cache.decision.decision import DecisionKind
from penstock_cache.semantic.cosine_verifier import CosineVerifier
from penstock_cache.semantic.door import SemanticDoor
from penstock_cache.semantic.encoder import EncoderError
from penstock_cache.semantic.prompts import EncodedPrompt
from penstock_cache.semantic.reembedding import Reembedding
from penstock_cache.service import CacheServicer
from penstock_shared.errors import UnavailableError
from penstock_shared.server import GrpcServer
from penstock_shared.tracing import Tracer

ASKED = "what is the capital of france"
NEAR = "what is the capital city of france"
FAR = "how do trains run"
MISS, HIT, EXPLORE = (
    cache_pb2.LOOKUP_OUTCOME_MISS,
    cache_pb2.LOOKUP_OUTCOME_SEMANTIC_HIT,
    cache_pb2.LOOKUP_OUTCOME_EXPLORE,
)


class ShortSightedVerifier(CosineVerifier):
    """Judges prompts of up to `max_words` words."""

    max_words = 100

    def refusal(self, prompt: EncodedPrompt) -> str:
        """By the words alone."""
        return "too long to be compared" if len(prompt.text.split()) > self.max_words else ""


class Service:
    """A client of a service, and the parts behind it."""

    def __init__(self, stub: cache_pb2_grpc.CacheServiceStub, store: DatabaseStore, parts: SemanticParts) -> None:
        self.stub, self.store, self.parts = stub, store, parts

    async def look_up(self, prompt: str, **fields: Any) -> cache_pb2.LookupResponse:
        """A lookup that allows one error in ten, unless told otherwise."""
        if not {"min_similarity", "min_score", "max_error_rate"} & set(fields):
            fields["max_error_rate"] = 0.1
        policy = {
            name: fields.pop(name) for name in ("min_similarity", "min_score", "max_error_rate") if name in fields
        }
        return await self.stub.Lookup(cache_pb2.LookupRequest(key=key(prompt, **fields), **policy))

    async def put(self, prompt: str, text: str = "Paris", **fields: Any) -> cache_pb2.PutResponse:
        """Keeps an answer."""
        request = {name: fields.pop(name) for name in ("exploration_token", "is_equivalent") if name in fields}
        finish_reason = fields.pop("finish_reason", types_pb2.FINISH_REASON_STOP)
        choice = cache_pb2.CachedChoice(text=text, finish_reason=finish_reason)
        answer = cache_pb2.CachedAnswer(choices=[choice], model_revision="r1")
        return await self.stub.Put(cache_pb2.PutRequest(key=key(prompt, **fields), answer=answer, **request))


def key(prompt: str, *, tenant: str = "acme", context: str = "c", is_scoped: bool = False) -> cache_pb2.CacheKey:
    """The key of a prompt."""
    return cache_pb2.CacheKey(
        tenant=tenant,
        exact_digest=hashlib.sha256(f"{context} {prompt}".encode()).digest(),
        context_digest=context.encode().ljust(32),
        prompt=prompt,
        model="m",
        is_scoped=is_scoped,
    )


@pytest.fixture
async def service(open_store: Any, request: pytest.FixtureRequest) -> AsyncIterator[Service]:
    """A service whose semantic layer is open; a parameter is the layer's keyword arguments."""
    store = open_store()
    parts = SemanticParts(store, **getattr(request, "param", {}))
    door = SemanticDoor()
    door.open(parts.layer)
    server = GrpcServer(bind="127.0.0.1:0", service_names=[], tracer=Tracer("cache"))
    servicer = CacheServicer(store, door, default_ttl_s=60, max_ttl_s=600)
    cache_pb2_grpc.add_CacheServiceServicer_to_server(servicer, server.server)
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Service(cache_pb2_grpc.CacheServiceStub(channel), store, parts)
    await server.server.stop(0)


async def stats(service: Service, tenant: str = "acme") -> cache_pb2.GetStatsResponse:
    """Its counters."""
    return await service.stub.GetStats(cache_pb2.GetStatsRequest(tenant=tenant))


async def test_a_near_prompt_is_explored_and_what_the_model_says_is_learned(service: Service) -> None:
    """The way from nothing known to a label: two prompts, one answer, one cluster."""
    first = await service.put(ASKED)
    explored = await service.look_up(NEAR)
    assert (explored.outcome, explored.answer.entry_id) == (EXPLORE, first.entry_id)
    stored = await service.put(NEAR, "paris.", exploration_token=explored.exploration_token)
    assert (stored.is_stored, stored.is_equivalent) == (True, True)
    (label,) = service.parts.decider.labels
    assert (label.cluster, label.score, label.is_correct, label.propensity) == (first.entry_id, 1.5, True, 1.0)
    (kept,) = await service.store.labels("acme", "m")
    assert kept.label == label
    explained = await service.stub.Explain(cache_pb2.ExplainRequest(key=key("capital of france"), max_error_rate=0.1))
    assert [each.cluster for each in explained.candidates] == [first.entry_id] * 2


async def test_a_trusted_candidate_is_served_with_what_is_known_of_it(service: Service) -> None:
    """The answer to another prompt, and how sure the cache is of it."""
    first = await service.put(ASKED)
    service.parts.decider.kind = DecisionKind.SERVE
    hit = await service.look_up(NEAR, max_error_rate=0.25)
    assert (hit.outcome, hit.answer.choices[0].text, hit.answer.entry_id) == (HIT, "Paris", first.entry_id)
    assert (hit.score, hit.error_bound, hit.reason, hit.exploration_token) == (0.75, 0.5, "told to SERVE", b"")
    assert 0.85 < hit.similarity < 1
    assert service.parts.decider.bounds == [0.25]


async def test_another_answer_is_a_wrong_label_and_a_cluster_of_its_own(service: Service) -> None:
    """Near prompts with different answers must not be served for each other."""
    await service.put(ASKED)
    explored = await service.look_up(NEAR)
    stored = await service.put(NEAR, "Lyon", exploration_token=explored.exploration_token)
    assert stored.is_equivalent is False
    assert [label.is_correct for label in service.parts.decider.labels] == [False]
    explained = await service.stub.Explain(cache_pb2.ExplainRequest(key=key("capital of france"), max_error_rate=0.1))
    assert len({each.cluster for each in explained.candidates}) == 2


async def test_whoever_knows_whether_answers_agree_overrules_the_comparison(service: Service) -> None:
    """A judge, or a benchmark that has the truth."""
    await service.put(ASKED)
    explored = await service.look_up(NEAR)
    stored = await service.put(NEAR, "Lyon", exploration_token=explored.exploration_token, is_equivalent=True)
    assert stored.is_equivalent is True
    assert [label.is_correct for label in service.parts.decider.labels] == [True]


async def test_nothing_crosses_tenants_or_contexts(service: Service) -> None:
    """The very same prompt, as near as can be, finds nothing elsewhere."""
    await service.put(ASKED)
    service.parts.decider.kind = DecisionKind.SERVE
    for elsewhere in ({"tenant": "other"}, {"context": "d"}):
        assert (await service.look_up(ASKED + " ", **elsewhere)).outcome == MISS
    assert (await service.look_up(ASKED + " ")).outcome == HIT


async def test_a_prompt_is_encoded_once_for_its_tenant_and_again_for_another(service: Service) -> None:
    """Put follows lookup; and how long a lookup takes must not tell what another tenant has asked."""
    for tenant in ("acme", "other"):
        await service.put(FAR, tenant=tenant)
        service.parts.encoder.batches.clear()
        await service.look_up(ASKED, tenant=tenant)
        await service.put(ASKED, tenant=tenant)
        assert service.parts.encoder.batches == [[ASKED]]


async def test_where_nothing_is_stored_nothing_is_encoded(service: Service) -> None:
    """Each turn of a conversation has a context of its own, and is nobody's paraphrase."""
    await service.put(ASKED)
    service.parts.encoder.batches.clear()
    missed = await service.look_up(NEAR, context="d")
    assert (missed.outcome, missed.reason) == (MISS, "no prompt that was answered is near")
    assert service.parts.encoder.batches == []
    assert (await stats(service)).num_semantic_lookups == 1


async def test_a_token_is_worth_nothing_to_another_tenant_and_the_answer_is_kept_all_the_same(
    service: Service,
) -> None:
    """A stolen or guessed token teaches nobody's cache and is no error to tell anything by."""
    await service.put(ASKED)
    explored = await service.look_up(NEAR)
    for token in (explored.exploration_token, b"guessed"):
        stolen = await service.put(NEAR, "Rome", tenant="other", exploration_token=token, is_equivalent=True)
        assert (stolen.is_stored, stolen.HasField("is_equivalent")) == (True, False)
    assert service.parts.decider.labels == []
    own = await service.put(NEAR, exploration_token=explored.exploration_token)
    assert own.is_equivalent is True


@pytest.mark.parametrize(
    ("prompt", "near", "reason"),
    [
        ("what is the weather in rome", "what is the weather now in rome", "the prompt asks of a moment"),
        ("what is my account balance", "what is my account balance please", "the prompt is personal"),
    ],
)
async def test_prompts_of_a_moment_or_a_person_are_not_shared(
    service: Service, prompt: str, near: str, reason: str
) -> None:
    """However near: the answer belongs to yesterday, or to somebody else."""
    service.parts.decider.kind = DecisionKind.SERVE
    await service.put(prompt)
    refused = await service.look_up(near)
    assert refused.outcome == MISS
    assert refused.reason.startswith(reason)
    assert service.parts.encoder.batches == []


async def test_personal_prompts_are_shared_within_a_scope_that_the_request_names(service: Service) -> None:
    """One user's own answers may serve that user again."""
    service.parts.decider.kind = DecisionKind.SERVE
    await service.put("what is my account balance", is_scoped=True)
    assert (await service.look_up("what is my account balance please", is_scoped=True)).outcome == HIT
    await service.put("what is the weather in rome", is_scoped=True)
    assert (await service.look_up("what is the weather now in rome", is_scoped=True)).outcome == MISS


async def test_an_answer_that_a_length_limit_cut_serves_its_own_request_only_and_proves_nothing(
    service: Service,
) -> None:
    """Half an answer is complete for nobody else, and differs from a whole one without being wrong."""
    await service.put(FAR, "They run on", finish_reason=types_pb2.FINISH_REASON_LENGTH)
    assert (await service.look_up(FAR)).outcome == cache_pb2.LOOKUP_OUTCOME_EXACT_HIT
    assert (await service.look_up(f"{FAR} please")).outcome == MISS
    await service.put(ASKED)
    explored = await service.look_up(NEAR)
    cut = {"finish_reason": types_pb2.FINISH_REASON_LENGTH, "exploration_token": explored.exploration_token}
    stored = await service.put(NEAR, "Par", **cut)
    assert (stored.is_stored, stored.HasField("is_equivalent")) == (True, False)
    assert service.parts.decider.labels == []


async def test_exact_only_requests_do_not_reach_the_encoder(service: Service) -> None:
    """Whoever allows no error gets none, and pays nothing."""
    service.parts.decider.kind = DecisionKind.SERVE
    await service.put(ASKED)
    service.parts.encoder.batches.clear()
    assert (await service.look_up(NEAR, max_error_rate=0.0)).outcome == MISS
    assert service.parts.encoder.batches == []
    assert (await stats(service)).num_semantic_lookups == 0


async def test_thresholds_serve_by_themselves_and_explore_nothing(service: Service) -> None:
    """What the bound is compared with."""
    await service.put(ASKED)
    similarity = (await service.look_up(NEAR)).similarity
    assert (await service.look_up(NEAR, min_similarity=similarity - 0.01)).outcome == HIT
    below = await service.look_up(NEAR, min_similarity=similarity + 0.01)
    assert (below.outcome, below.exploration_token, below.HasField("error_bound")) == (MISS, b"", False)
    score = below.score
    assert (await service.look_up(NEAR, min_score=score - 0.01)).outcome == HIT
    assert (await service.look_up(NEAR, min_score=score + 0.01)).outcome == MISS
    assert service.parts.decider.bounds == [0.1]


async def test_far_prompts_are_no_candidates(service: Service) -> None:
    """There is nothing to learn from them."""
    await service.put(ASKED)
    missed = await service.look_up(FAR)
    assert (missed.outcome, missed.reason) == (MISS, "no prompt that was answered is near")


@pytest.mark.parametrize("service", [{"verifier": ShortSightedVerifier()}], indirect=True)
async def test_what_the_verifier_does_not_judge_is_neither_compared_nor_stored_for_it(
    service: Service, request: pytest.FixtureRequest
) -> None:
    """An exploration of it would teach that low scores are right."""
    verifier = request.node.callspec.params["service"]["verifier"]
    await service.put(NEAR)
    verifier.max_words = len(ASKED.split())
    assert (await service.look_up(ASKED)).reason == "no prompt that was answered is near"
    assert (await service.look_up(f"{NEAR} exactly")).reason == "too long to be compared"
    await service.put(f"{NEAR} exactly")
    verifier.max_words = 100
    explained = await service.stub.Explain(cache_pb2.ExplainRequest(key=key(ASKED), max_error_rate=0.1))
    assert [each.prompt for each in explained.candidates] == [NEAR]


async def test_when_the_encoder_fails_the_exact_layer_goes_on_and_the_reason_says_so(service: Service) -> None:
    """A semantic cache is an advantage to have, and never a reason to fail."""
    await service.put(ASKED)
    service.parts.encoder.failure = EncoderError("the encoder has too much to do")
    missed = await service.look_up(NEAR)
    assert (missed.outcome, missed.reason) == (MISS, "the encoder has too much to do")
    exact = await service.look_up(ASKED)
    assert exact.outcome == cache_pb2.LOOKUP_OUTCOME_EXACT_HIT
    service.parts.encoder.failure = RuntimeError("a secret of the innards")
    assert (await service.look_up(NEAR)).reason == "the lookup by meaning failed"
    assert (await stats(service)).num_semantic_failures == 2


async def test_an_answer_that_could_not_be_encoded_is_found_once_it_is(service: Service) -> None:
    """It is kept, and gets its vector behind everybody's back."""
    service.parts.decider.kind = DecisionKind.SERVE
    service.parts.encoder.failure = EncoderError("too much to do")
    assert (await service.put(ASKED)).is_stored
    service.parts.encoder.failure = None
    assert (await service.look_up(NEAR)).outcome == MISS
    assert await Reembedding(service.store, service.parts.encoder, interval_s=1).replace_all() == 1
    assert (await service.look_up(NEAR)).outcome == HIT


class HangingEncoder:
    """Never answers."""

    fingerprint, dimension = "words-1", 64

    def __init__(self) -> None:
        self.is_asked = asyncio.Event()

    async def encode(self, text: str, *, is_urgent: bool = True) -> EncodedPrompt:
        """Waits for ever."""
        self.is_asked.set()
        await asyncio.Event().wait()
        raise AssertionError


@pytest.mark.parametrize("service", [{"max_lookups": 1}], indirect=True)
async def test_no_more_lookups_wait_for_a_slow_encoder_than_the_bound_allows(service: Service) -> None:
    """Waiting requests do not pile up; those over the bound have their miss at once."""
    await service.put(ASKED)
    encoder = service.parts.layer._finder._encoder = HangingEncoder()
    waits = asyncio.create_task(service.look_up(NEAR))
    await encoder.is_asked.wait()
    assert (await service.look_up(NEAR)).reason == "too many lookups by meaning are under way"
    waits.cancel()


@pytest.mark.parametrize("service", [{"budget_s": 0.05}], indirect=True)
async def test_a_slow_encoder_costs_no_more_than_the_budget(service: Service) -> None:
    """The gateway's 50 ms are not spent waiting."""
    await service.put(ASKED)
    service.parts.layer._finder._encoder = HangingEncoder()
    assert (await service.look_up(NEAR)).reason == "the lookup by meaning took too long"
    assert (await stats(service)).num_semantic_failures == 1


async def test_a_callers_own_deadline_is_kept(service: Service) -> None:
    """Less time than the budget: a miss in time instead of an error too late."""
    await service.put(ASKED)
    service.parts.layer._finder._encoder = HangingEncoder()
    request = cache_pb2.LookupRequest(key=key(NEAR), max_error_rate=0.1)
    missed = await service.stub.Lookup(request, timeout=2)
    assert missed.reason == "the lookup by meaning took too long"


async def test_what_an_exploration_showed_may_be_lost_and_the_answer_is_not(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full queue for labels is no reason to compute an answer twice."""
    await service.put(ASKED)
    explored = await service.look_up(NEAR)

    async def fail(*_arguments: object) -> None:
        raise UnavailableError("the disk is full")

    monkeypatch.setattr(service.store, "add_label", fail)
    stored = await service.put(NEAR, exploration_token=explored.exploration_token)
    assert (stored.is_stored, stored.HasField("is_equivalent")) == (True, False)
    assert (await stats(service)).num_labels == 0


async def test_counters_tell_hits_explorations_audits_and_how_often_the_cache_is_wrong(service: Service) -> None:
    """The cache knows how often it is wrong."""
    await service.put(ASKED)
    for prompt, answer, propensity in (
        (NEAR, "Paris", 0.5),
        (f"{NEAR} please", "Lyon", 0.5),
        (f"{NEAR} then", "x", 1.0),
    ):
        service.parts.decider.propensity = propensity
        explored = await service.look_up(prompt)
        await service.put(prompt, answer, exploration_token=explored.exploration_token)
    service.parts.decider.kind = DecisionKind.SERVE
    for _ in range(7):
        await service.look_up("the capital of france")
    counted = await stats(service)
    assert (counted.num_semantic_lookups, counted.num_semantic_hits, counted.num_explorations) == (10, 7, 3)
    assert (counted.num_labels, counted.num_wrong_explorations) == (3, 2)
    assert (counted.num_audits, counted.num_wrong_audits) == (2, 1)
    assert counted.error_rate == pytest.approx(1 / 10)
    assert counted.wrong_per_served == pytest.approx(1 / 7)
    assert counted.error_rate < counted.error_rate_bound <= 1
    nobody = await stats(service, "nobody")
    assert (nobody.num_semantic_lookups, nobody.HasField("error_rate")) == (0, False)
    assert (await stats(service, "")).num_semantic_hits == 7


async def test_an_explanation_names_all_candidates_and_changes_nothing(service: Service) -> None:
    """What an operator asks when a hit looks wrong."""
    first = await service.put(ASKED)
    await service.put(f"{NEAR} exactly")
    request = cache_pb2.ExplainRequest(key=key(NEAR), max_error_rate=0.1)
    explained = await service.stub.Explain(request)
    assert (explained.outcome, explained.reason) == (EXPLORE, "told to EXPLORE")
    assert [each.prompt for each in explained.candidates] == [f"{NEAR} exactly", ASKED]
    best, second = explained.candidates
    assert (second.entry_id, second.score, second.error_bound, second.outcome) == (first.entry_id, 0.75, 0.5, EXPLORE)
    assert best.similarity > second.similarity
    assert service.parts.decider.bounds == []
    assert (await stats(service)).num_semantic_lookups == 0
    exact = await service.stub.Explain(cache_pb2.ExplainRequest(key=key(ASKED), max_error_rate=0.1))
    assert exact.outcome == cache_pb2.LOOKUP_OUTCOME_EXACT_HIT
    other = await service.stub.Explain(cache_pb2.ExplainRequest(key=key(NEAR, tenant="other"), max_error_rate=0.1))
    assert (other.outcome, list(other.candidates)) == (MISS, [])


async def test_an_export_is_imported_whole_for_the_tenant_that_is_named(service: Service) -> None:
    """A move to another machine, or a backup: exact and by meaning, clusters too."""
    first = await service.put(ASKED)
    explored = await service.look_up(NEAR)
    await service.put(NEAR, exploration_token=explored.exploration_token)
    await service.put("elsewhere", tenant="third")
    exported = [response.record async for response in service.stub.Export(cache_pb2.ExportRequest(tenant="acme"))]
    assert [record.WhichOneof("kind") for record in exported] == ["entry", "entry", "label"]
    assert [record.entry.prompt for record in exported[:2]] == [ASKED, NEAR]
    assert {record.entry.cluster for record in exported[:2]} == {first.entry_id} == {exported[2].label.cluster}
    bad = cache_pb2.CacheRecord(entry=cache_pb2.EntryRecord(prompt="no digests"))
    worse = cache_pb2.CacheRecord(label=cache_pb2.LabelRecord(model="m", cluster="x", propensity=2))
    nul = cache_pb2.CacheRecord(label=cache_pb2.LabelRecord(model="m", cluster="a\0b", propensity=1))
    requests = [cache_pb2.ImportRequest(tenant="new", record=record) for record in (*exported, bad, worse, nul)]
    imported = await service.stub.Import(iter(requests))
    assert (imported.num_entries, imported.num_labels, imported.num_refused) == (2, 1, 3)
    again = await service.stub.Import(iter(requests))
    assert (again.num_entries, again.num_labels, again.num_already_there, again.num_refused) == (0, 0, 3, 3)
    assert (await service.look_up(ASKED, tenant="new")).outcome == cache_pb2.LOOKUP_OUTCOME_EXACT_HIT
    assert (
        (await stats(service, "new")).num_waiting_for_vector == (await stats(service, "")).num_waiting_for_vector == 2
    )
    await Reembedding(service.store, service.parts.encoder, interval_s=1).replace_all()
    assert (await stats(service, "new")).num_waiting_for_vector == 0
    service.parts.decider.kind = DecisionKind.SERVE
    assert (await service.look_up("the capital of france", tenant="new")).outcome == HIT
    learned = [[each.label for each in await service.store.labels(tenant, "m")] for tenant in ("acme", "new")]
    assert learned[0] == learned[1] != []


async def test_without_a_semantic_layer_the_reason_says_so(stub: cache_pb2_grpc.CacheServiceStub) -> None:
    """While the encoder loads, or where it is switched off."""
    missed = await stub.Lookup(cache_pb2.LookupRequest(key=key(ASKED), max_error_rate=0.1))
    assert (missed.outcome, missed.reason) == (MISS, "answers are found by the very same request only")
    explained = await stub.Explain(cache_pb2.ExplainRequest(key=key(ASKED), max_error_rate=0.1))
    assert (explained.outcome, explained.reason) == (MISS, "answers are found by the very same request only")
