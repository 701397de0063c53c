"""What `penstock cache stats`, `explain` and `invalidate` do: they ask the gateway's port for operators."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table

from penstock.admin.v1 import admin_pb2
from penstock.cache.v1 import cache_pb2
from penstock.cli.admin import AdminAccess, admin_calls
from penstock.cli.errors import CommandError
from penstock.cli.printable import json_line, printable
from penstock.client import GenerationOptions, InvalidArgumentError
from penstock.client.request import generation_request

_TIMEOUT_S = 10.0
_MAX_SHOWN_CHARS = 200
_OUTCOME_PREFIX = "LOOKUP_OUTCOME_"


@dataclass(frozen=True, slots=True)
class Question:
    """A request to explain; of the options, those that are None are the model's own."""

    prompt: str
    system: str
    is_raw: bool
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which answers are to go."""

    tags: Sequence[str]
    entry_id: str
    model_revision: str
    is_all: bool


def show_stats(access: AdminAccess, tenant: str, *, as_json: bool) -> None:
    """Prints what the cache has counted; empty: for all tenants."""
    with admin_calls(access) as ask:
        told = ask("GetCacheStats", admin_pb2.GetCacheStatsRequest(tenant=tenant), _TIMEOUT_S)
    if as_json:
        print(json.dumps(_fields(told.stats)))  # noqa: T201 - the command's result
    else:
        _draw_stats(told.stats)


def explain_question(access: AdminAccess, tenant: str, question: Question, *, as_json: bool) -> None:
    """Prints what the cache would do with a question."""
    with admin_calls(access) as ask:
        status = ask("GetStatus", admin_pb2.GetStatusRequest(), _TIMEOUT_S)
        request = admin_pb2.ExplainCacheRequest(tenant=tenant, request=_request(question, status.models))
        told = ask("ExplainCache", request, _TIMEOUT_S)
    if as_json:
        print(json_line(_explanation(told)))  # noqa: T201 - the command's result
    else:
        _draw_explanation(told)


def invalidate_answers(access: AdminAccess, tenant: str, selection: Selection, *, as_json: bool) -> None:
    """Removes answers and prints how many went.

    Raises:
        CommandError: not exactly one way to choose them was given.
    """
    given = {
        "--tag": bool(selection.tags),
        "--entry": bool(selection.entry_id),
        "--model-revision": bool(selection.model_revision),
        "--all": selection.is_all,
    }
    used = [flag for flag, is_given in given.items() if is_given]
    if len(used) != 1:
        raise CommandError(f"got {' and '.join(used) or 'nothing'}; allowed: one of {', '.join(given)}")
    request = admin_pb2.InvalidateCacheRequest(
        tenant=tenant,
        tags=selection.tags,
        all=selection.is_all,
        entry_id=selection.entry_id,
        model_revision=selection.model_revision,
    )
    with admin_calls(access) as ask:
        num_removed = ask("InvalidateCache", request, _TIMEOUT_S).num_removed
    if as_json:
        print(json.dumps({"num_removed": num_removed}))  # noqa: T201 - the command's result
    else:
        print(f"removed {_count(num_removed, 'answer')} of tenant {printable(tenant)}")  # noqa: T201 - as above


def _request(question: Question, models: Sequence[admin_pb2.ModelStatus]) -> Any:
    """As `penstock generate` would send it."""
    options = {name: value for name, value in question.options.items() if value is not None}
    named = [model for model in models if options.get("model") in (None, model.name)]
    has_template = len(named) == 1 and named[0].has_chat_template
    prompt: str | None = question.prompt
    if question.system or (has_template and not question.is_raw):
        prompt = None
        options["messages"] = [{"role": "user", "content": question.prompt}]
        if question.system:
            options["messages"].insert(0, {"role": "system", "content": question.system})
    try:
        return generation_request(prompt, cast("GenerationOptions", options))
    except InvalidArgumentError as error:
        raise CommandError(error.message) from error


def _draw_stats(stats: cache_pb2.GetStatsResponse) -> None:
    evicted = f"{stats.num_evictions} evicted"
    compared = f"{stats.num_semantic_lookups} compared, {stats.num_semantic_hits} served"
    audits = f"{_count(stats.num_audits, 'audit')}, {stats.num_wrong_audits} wrong"
    rows = {
        "kept": f"{_count(stats.num_entries, 'answer')}, {stats.size_bytes / 1e6:.1f} MB, {evicted}",
        "lookups": f"{stats.num_lookups}, of which {stats.num_exact_hits} found the very same request",
        "by meaning": f"{compared}, {stats.num_explorations} explored",
        "learned": f"{_count(stats.num_labels, 'comparison')}, {stats.num_wrong_explorations} wrong; {audits}",
        "error rate": _error_rate(stats),
        "without vector": f"{stats.num_waiting_for_vector} answers, {stats.num_semantic_failures} lookups",
    }
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in rows.items():
        table.add_row(name, value)
    Console(soft_wrap=True, highlight=False, markup=False).print(table)


def _error_rate(stats: cache_pb2.GetStatsResponse) -> str:
    if not stats.HasField("error_rate"):
        return "not known: nothing was audited"
    bound = f", at most {stats.error_rate_bound:.2%} (95 %)" if stats.HasField("error_rate_bound") else ""
    served = f"; of what was served {stats.wrong_per_served:.2%}" if stats.HasField("wrong_per_served") else ""
    return f"{stats.error_rate:.2%} of what was compared{bound}{served}"


def _explanation(told: admin_pb2.ExplainCacheResponse) -> dict[str, Any]:
    has_explanation = told.HasField("explanation")
    return {
        "outcome": _outcome(told.explanation.outcome) if has_explanation else None,
        "reason": told.explanation.reason,
        "restriction": told.restriction,
        "max_error_rate": told.max_error_rate,
        "candidates": [
            _fields(candidate) | {"outcome": _outcome(candidate.outcome)} for candidate in told.explanation.candidates
        ],
    }


def _draw_explanation(told: admin_pb2.ExplainCacheResponse) -> None:
    console = Console(soft_wrap=True, highlight=False, markup=False)
    if not told.HasField("explanation"):
        console.print(f"the cache is not asked: {told.restriction}")
        return
    console.print(f"{_outcome(told.explanation.outcome)}: {printable(told.explanation.reason)}")
    if told.restriction:
        console.print(f"only the very same request counts: {told.restriction}")
    else:
        console.print(f"at most {told.max_error_rate:.2%} of what is compared may be wrong")
    for candidate in told.explanation.candidates:
        console.print("", *_lines(candidate), sep="\n")


def _lines(candidate: cache_pb2.Candidate) -> list[str]:
    prompt = printable(candidate.prompt)
    bound = f", bound {candidate.error_bound:.3f}" if candidate.HasField("error_bound") else ""
    return [
        prompt if len(prompt) <= _MAX_SHOWN_CHARS else f"{prompt[:_MAX_SHOWN_CHARS]}…",
        f"  {_outcome(candidate.outcome)}: {printable(candidate.reason)}",
        f"  similarity {candidate.similarity:.3f}, score {candidate.score:.3f}{bound}; entry {candidate.entry_id}",
    ]


def _outcome(number: cache_pb2.LookupOutcome.ValueType) -> str:
    return cache_pb2.LookupOutcome.Name(number).removeprefix(_OUTCOME_PREFIX).lower()


def _fields(message: Message) -> dict[str, Any]:
    """The fields of a message that has only plain ones; None where one is absent."""
    return {
        field.name: None if field.has_presence and not message.HasField(field.name) else getattr(message, field.name)
        for field in message.DESCRIPTOR.fields
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
