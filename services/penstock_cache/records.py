"""What an export carries, to and from messages. Tenants and vectors are no part of it."""

from dataclasses import replace

from penstock.cache.v1 import cache_pb2
from penstock_cache import convert
from penstock_cache.decision.label import Label
from penstock_cache.entries import ExportedEntry, Restored
from penstock_cache.semantic.reembedding import without_vector
from penstock_shared.errors import InvalidArgumentError
from penstock_shared.storable import check_storable


def entry_record(exported: ExportedEntry) -> cache_pb2.EntryRecord:
    """A kept answer, with what it is found by."""
    entry, semantic = exported.entry, exported.entry.semantic
    record = cache_pb2.EntryRecord(
        exact_digest=entry.key.digest,
        answer=cache_pb2.CachedAnswer.FromString(entry.answer),
        tags=entry.tags,
        num_uses=exported.num_uses,
    )
    record.answer.create_time.FromNanoseconds(int(exported.created_s * 1e9))
    record.expire_time.FromNanoseconds(int((exported.created_s + entry.ttl_s) * 1e9))
    if semantic is not None:
        record.context_digest = semantic.context_digest
        record.prompt = semantic.prompt.text
        record.cluster = semantic.cluster or ""
    return record


def exported_entry(record: cache_pb2.EntryRecord, tenant: str, *, max_ttl_s: float) -> ExportedEntry:
    """An entry to be restored for a tenant; its prompt waits for a vector.

    Raises:
        InvalidArgumentError: it is not whole, or a field is out of its range.
    """
    key = cache_pb2.CacheKey(
        tenant=tenant, exact_digest=record.exact_digest, context_digest=record.context_digest, prompt=record.prompt
    )
    question = convert.question_of(key)
    check_storable("cluster", record.cluster)
    created_s, expires_s = (each.ToNanoseconds() / 1e9 for each in (record.answer.create_time, record.expire_time))
    if not 0 < expires_s - created_s <= max_ttl_s:
        raise InvalidArgumentError(
            "expire_time", f"{expires_s - created_s:g} s after create_time", f"above 0 and at most {max_ttl_s:g} s"
        )
    put = cache_pb2.PutRequest(key=key, answer=record.answer, tags=record.tags)
    entry = convert.new_entry(put, default_ttl_s=expires_s - created_s, max_ttl_s=max_ttl_s)
    if question is not None:
        semantic = without_vector(question.context_digest, question.prompt, record.cluster or None)
        entry = replace(entry, semantic=semantic)
    return ExportedEntry(entry, created_s, record.num_uses)


def label_of(record: cache_pb2.LabelRecord) -> Label:
    """What an exploration showed.

    Raises:
        InvalidArgumentError: a field is out of its range.
    """
    check_storable("model", record.model)
    check_storable("cluster", record.cluster)
    if not 0 < record.propensity <= 1:
        raise InvalidArgumentError("propensity", record.propensity, "above 0 and at most 1")
    return Label(
        record.cluster,
        record.score,
        record.is_correct,
        record.propensity,
        time_s=record.create_time.ToNanoseconds() / 1e9,
    )


def label_record(model: str, label: Label) -> cache_pb2.LabelRecord:
    """What an exploration showed."""
    record = cache_pb2.LabelRecord(
        model=model,
        cluster=label.cluster,
        score=label.score,
        is_correct=label.is_correct,
        propensity=label.propensity,
    )
    record.create_time.FromNanoseconds(int(label.time_s * 1e9))
    return record


def count(response: cache_pb2.ImportResponse, record: cache_pb2.CacheRecord, restored: Restored) -> None:
    """Counts what became of a record."""
    if restored is Restored.REFUSED:
        response.num_refused += 1
    elif restored is Restored.ALREADY_THERE:
        response.num_already_there += 1
    elif record.WhichOneof("kind") == "label":
        response.num_labels += 1
    else:
        response.num_entries += 1
