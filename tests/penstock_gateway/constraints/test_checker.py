"""Constraints tried out in bounded processes: what honest ones say, and what hostile ones cannot do."""

import asyncio
import contextlib
import errno
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from fakes.hostile_constraints import BOUNDED, REFUSED

from penstock_gateway.constraints.checker import ConstraintChecker
from penstock_gateway.text.vocabulary import Vocabulary
from penstock_shared.child_process import ChildProcess
from penstock_shared.constraint import Constraint, ConstraintKind
from penstock_shared.directory import ModelSpec, SamplingDefaults
from penstock_shared.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

EOS = 256
VOCABULARY = Vocabulary("bytes", (*(bytes([byte]) for byte in range(256)), b""))
SPEC = ModelSpec("tiny", "r1", "bytes", "t1", 1024, (EOS,), SamplingDefaults(), EOS + 1, "")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def checker() -> AsyncIterator[ConstraintChecker]:
    """With one process, so that what one constraint does to it the next one meets."""
    made = ConstraintChecker(num_processes=1, cpu_s=0.25)
    yield made
    await made.close()


async def check(
    checker: ConstraintChecker, kind: ConstraintKind, *texts: str, spec: ModelSpec = SPEC, tenant: str = "acme"
) -> None:
    """Tries a constraint out."""
    await checker.check(Constraint(kind, texts), spec, VOCABULARY, field="request.constraint", tenant=tenant)


async def test_what_can_be_compiled_passes(checker: ConstraintChecker) -> None:
    """All four kinds."""
    await check(checker, ConstraintKind.JSON_SCHEMA, '{"type": "object", "properties": {"a": {"type": "integer"}}}')
    await check(checker, ConstraintKind.JSON_SCHEMA, "true")
    await check(checker, ConstraintKind.REGEX, "[0-9]{4}-[0-9]{2}")
    await check(checker, ConstraintKind.GRAMMAR, 'start: "a" start | "b"')
    await check(checker, ConstraintKind.CHOICE, "yes", 'say "no"\n', "größer/ü")


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        (ConstraintKind.JSON_SCHEMA, '{"type": "foo"}', "Invalid type: foo"),
        (ConstraintKind.JSON_SCHEMA, "false", "Unsatisfiable schema"),
        (ConstraintKind.JSON_SCHEMA, '{"not": {}}', 'Unimplemented keys: ["not"]'),
        (ConstraintKind.JSON_SCHEMA, '{"type": "string", "pattern": "(?=a)"}', "look-around"),
        (ConstraintKind.JSON_SCHEMA, '{"type": "integer", "minimum": 5, "maximum": 1}', "Unsatisfiable schema"),
        (ConstraintKind.JSON_SCHEMA, '{"$ref": "http://127.0.0.1/schema"}', "does not fetch"),
        (ConstraintKind.JSON_SCHEMA, '{"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}', "no output"),
        (ConstraintKind.REGEX, "(", "unclosed group"),
        (ConstraintKind.REGEX, "(?=a)b", "look-around"),
        (ConstraintKind.GRAMMAR, "start: x", 'unknown name: "x"'),
        (ConstraintKind.GRAMMAR, '{"grammars": [{"json_schema": {}}]}', "llguidance"),
    ],
)
async def test_what_cannot_is_refused_with_the_compilers_words(
    checker: ConstraintChecker, kind: ConstraintKind, text: str, words: str
) -> None:
    """The caller learns what to mend, in one line, and never waits for a generation to fail."""
    with pytest.raises(InvalidArgumentError) as caught:
        await check(checker, kind, text)
    assert caught.value.field == f"request.constraint.{kind.value}"
    assert words in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("name", REFUSED)
async def test_hostile_constraint_is_refused_and_the_next_one_is_served(checker: ConstraintChecker, name: str) -> None:
    """It ends its process at most: the gateway goes on, and so does everybody who asks next."""
    with pytest.raises(InvalidArgumentError, match=r"it takes more than 0\.25 s to compile|it is too complex"):
        await checker.check(REFUSED[name], SPEC, VOCABULARY, field="request.constraint", tenant="acme")
    await check(checker, ConstraintKind.REGEX, f"{name}+")


async def test_hostile_constraint_that_llguidance_bounds_costs_little(checker: ConstraintChecker) -> None:
    """Whether they are taken or refused, each has its verdict within the bound, and the process serves on."""
    for hostile in BOUNDED.values():
        with contextlib.suppress(InvalidArgumentError):
            await checker.check(hostile, SPEC, VOCABULARY, field="request.constraint", tenant="acme")
    await check(checker, ConstraintKind.REGEX, "afterwards")


async def test_verdict_is_remembered(checker: ConstraintChecker) -> None:
    """Who asks again and again costs one trial, whether it was taken or refused."""
    hostile = REFUSED["multiple of a large prime"]
    for _ in range(2):
        await check(checker, ConstraintKind.REGEX, "remembered")
        with pytest.raises(InvalidArgumentError, match="to compile"):
            await checker.check(hostile, SPEC, VOCABULARY, field="request.constraint", tenant="acme")
        await checker.close()  # a second trial would start a process again
    await check(checker, ConstraintKind.REGEX, "remembered")
    assert checker._processes[0].pid is None


async def test_process_ended_from_outside_says_nothing_of_the_constraint(
    checker: ConstraintChecker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full machine kills at random and starts nothing: the caller comes again, and is not refused for it then."""
    await check(checker, ConstraintKind.REGEX, "begun")
    exchange = ChildProcess.exchange

    async def kill(process: ChildProcess, request: bytes) -> bytes:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        return await exchange(process, request)

    for name, replaced in (("exchange", kill), ("_spawn", _refuse_process)):
        with monkeypatch.context() as full:
            full.setattr(ChildProcess, name, replaced)
            with pytest.raises(UnavailableError) as caught:
                await check(checker, ConstraintKind.REGEX, "innocent")
            assert caught.value.retry_after_s == 0.5
    await check(checker, ConstraintKind.REGEX, "innocent")


def _refuse_process(*_arguments: object) -> None:
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


async def test_equal_constraints_share_a_trial_and_a_caller_that_leaves_ends_nothing() -> None:
    """The trial belongs to all who wait for it."""
    checker = ConstraintChecker(num_processes=1, cpu_s=5)
    first = asyncio.create_task(check(checker, ConstraintKind.REGEX, "a+"))
    second = asyncio.create_task(check(checker, ConstraintKind.REGEX, "a+"))
    await asyncio.sleep(0)
    assert repr(checker) == "ConstraintChecker(trials=1, verdicts=0)"
    first.cancel()
    await second
    assert repr(checker) == "ConstraintChecker(trials=0, verdicts=1)"
    await checker.close()


async def test_too_many_trials_are_told_at_once() -> None:
    """A flood of hostile constraints does not make everybody wait behind it."""
    checker = ConstraintChecker(num_processes=1, cpu_s=5)
    waiting = [asyncio.create_task(check(checker, ConstraintKind.REGEX, f"a{i}")) for i in range(64)]
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhaustedError, match="64 of your constraints wait to be compiled, of 64 that may"):
        await check(checker, ConstraintKind.REGEX, "b")
    await checker.close()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_tenant_that_floods_leaves_the_others_their_share_and_their_turn() -> None:
    """The second tenant is not refused for what the first one has waiting, and is served after one more of it."""
    checker = ConstraintChecker(num_processes=1, cpu_s=5)
    ended: list[str] = []

    async def ask(tenant: str, number: int) -> None:
        await check(checker, ConstraintKind.REGEX, f"{tenant}{number}", tenant=tenant)
        ended.append(tenant)

    flood = [asyncio.create_task(ask("a", number)) for number in range(64)]
    await asyncio.sleep(0)
    other = [asyncio.create_task(ask("b", number)) for number in range(32)]
    await asyncio.sleep(0)
    for tenant, told in (("b", "32 of your"), ("a", "64 of your")):
        with pytest.raises(ResourceExhaustedError, match=f"{told} constraints wait to be compiled, of 32 that may"):
            await check(checker, ConstraintKind.REGEX, "more", tenant=tenant)
    await asyncio.gather(*flood, *other)
    assert ended[:6] == ["a", "a", "b", "a", "b", "a"]
    assert repr(checker) == "ConstraintChecker(trials=0, verdicts=96)"
    await check(checker, ConstraintKind.REGEX, "more", tenant="a")
    await checker.close()


async def test_more_tokenizers_than_a_process_keeps_take_turns(checker: ConstraintChecker) -> None:
    """Each that it has let go of is told to it again; nothing is refused for it."""
    specs = [replace(SPEC, tokenizer_fingerprint=f"bytes-{number}") for number in range(6)]
    for turn in range(2):
        for spec in specs:
            await check(checker, ConstraintKind.REGEX, f"turn{turn}", spec=spec)


async def test_model_without_an_end_cannot_be_constrained(checker: ConstraintChecker) -> None:
    """Nothing could say that a grammar which might go on does not."""
    endless = ModelSpec("tiny", "r1", "bytes", "t1", 1024, (), SamplingDefaults(), EOS + 1, "")
    constraint = Constraint(ConstraintKind.REGEX, ("a",))
    with pytest.raises(FailedPreconditionError, match="'tiny' has no end-of-sequence token"):
        await checker.check(constraint, endless, VOCABULARY, field="c", tenant="acme")
