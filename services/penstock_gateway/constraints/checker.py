"""Refuses constraints that workers could not compile, at once and at a bounded cost."""

import asyncio
import json
import sys
from collections import Counter, OrderedDict

from penstock_gateway.constraints.turns import Turns
from penstock_gateway.text.vocabulary import Vocabulary
from penstock_shared.child_process import ChildAbortedError, ChildProcess
from penstock_shared.constraint import Constraint
from penstock_shared.directory import ModelSpec
from penstock_shared.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    PenstockError,
    ResourceExhaustedError,
    UnavailableError,
)
from penstock_shared.frames import Frame, to_frame
from penstock_shared.logs import get_logger

_TRIAL_MODULE = "penstock_gateway.constraints.trial"
_MAX_TRIAL_BYTES = 1 << 30  # of address space
_TIMEOUT_S = 20.0  # for a machine so busy that the alarm on CPU time is far off
_MAX_PENDING = 64
_MAX_VERDICTS = 1024
_RETRY_AFTER_S = 0.5

_Key = tuple[str, tuple[int, ...], Constraint]


class ConstraintChecker:
    """Tries constraints out in a few processes that take turns, and remembers what came of it.

    Args:
        num_processes: how many try at once. Each starts when it is first needed, and again after it was ended.
        cpu_s: CPU time that one constraint may take.
    """

    def __init__(self, *, num_processes: int, cpu_s: float) -> None:
        command = (sys.executable, "-m", _TRIAL_MODULE, str(cpu_s), str(_MAX_TRIAL_BYTES))
        self._cpu_s = cpu_s
        self._processes = [ChildProcess(command, timeout_s=_TIMEOUT_S, alarm_s=cpu_s) for _ in range(num_processes)]
        self._turns = Turns(self._processes)
        self._verdicts: OrderedDict[_Key, str | None] = OrderedDict()
        self._trials: dict[_Key, asyncio.Task[None]] = {}
        self._num_trials: Counter[str] = Counter()  # of each tenant that has any
        self._log = get_logger("constraints")

    def __repr__(self) -> str:
        return f"ConstraintChecker(trials={len(self._trials)}, verdicts={len(self._verdicts)})"

    async def check(
        self, constraint: Constraint, spec: ModelSpec, vocabulary: Vocabulary, *, field: str, tenant: str
    ) -> None:
        """Raises where `constraint` cannot be compiled for the model within its bounds.

        A cancelled caller leaves; the trial ends on its own, within its bounds, and its verdict is remembered.

        Args:
            constraint: of a size that was checked before.
            spec: of the model that is to conform.
            vocabulary: of that model.
            field: path of the constraint in the client's request.
            tenant: whose request it is; tenants take turns, and share what may wait.

        Raises:
            InvalidArgumentError: it is not valid, or takes too much; says why.
            ResourceExhaustedError: too many of this tenant's wait for their trial.
            UnavailableError: its trial was ended from outside, or could not begin; nothing is known of it.
            FailedPreconditionError: the model cannot be constrained.
        """
        if not spec.eos_token_ids:
            raise FailedPreconditionError(f"{spec.name!r} has no end-of-sequence token, which a constraint needs")
        key = (spec.tokenizer_fingerprint, spec.eos_token_ids, constraint)
        if key not in self._verdicts:
            await asyncio.shield(self._trial(key, vocabulary, tenant))
        self._verdicts.move_to_end(key)
        refusal = self._verdicts[key]
        if refusal is not None:
            raise _refused(constraint, refusal, field)

    async def close(self) -> None:
        """Ends all processes; what runs fails."""
        for task in self._trials.values():
            task.cancel()
        await asyncio.gather(*self._trials.values(), return_exceptions=True)
        await asyncio.gather(*(process.close() for process in self._processes))

    def _trial(self, key: _Key, vocabulary: Vocabulary, tenant: str) -> "asyncio.Task[None]":
        """The trial of a constraint: that under way, whoever's it is, or a new one."""
        if key not in self._trials:
            self._check_share(tenant)
            self._num_trials[tenant] += 1
            task = self._trials[key] = asyncio.create_task(self._try(key, vocabulary, tenant))
            task.add_done_callback(lambda done: self._forget(key, tenant, done))
        return self._trials[key]

    def _check_share(self, tenant: str) -> None:
        """A tenant may fill the queue while it is alone, and has an equal part of it where others wait, too."""
        num_own = self._num_trials[tenant]
        num_tenants = len(self._num_trials.keys() | {tenant})
        share = max(1, _MAX_PENDING // num_tenants)
        if num_own >= share:
            message = f"{num_own} of your constraints wait to be compiled, of {share} that may"
            raise ResourceExhaustedError(message, quota="gateway_constraints", retry_after_s=_RETRY_AFTER_S)

    async def _try(self, key: _Key, vocabulary: Vocabulary, tenant: str) -> None:
        process = await self._turns.take(tenant)
        try:
            verdict = await self._exchange(process, key, vocabulary)
        except (ChildAbortedError, OSError) as error:
            self._log.warning("trial process ended", reason=str(error), kind=key[2].kind.value)
            verdict = self._verdict_of(error)
        finally:
            self._turns.give_back(process)
        self._verdicts[key] = verdict
        if len(self._verdicts) > _MAX_VERDICTS:
            self._verdicts.popitem(last=False)

    async def _exchange(self, process: ChildProcess, key: _Key, vocabulary: Vocabulary) -> str | None:
        fingerprint, eos_token_ids, constraint = key
        name = f"{fingerprint}/{eos_token_ids}"
        request: Frame = {"tokenizer": name, "kind": constraint.kind.value, "texts": constraint.texts}
        try:
            await process.start()
        except ChildAbortedError as error:  # however it ended: not of this constraint
            raise OSError(str(error)) from error
        if name not in process.known:
            request["tokens"] = [token.decode("latin-1") for token in vocabulary.token_bytes]
            request["eos_token_ids"] = eos_token_ids
        answer: Frame = json.loads(await process.exchange(to_frame(request)))
        process.known = set(answer["known"])
        refusal: str | None = answer["refusal"]
        return refusal

    def _verdict_of(self, error: ChildAbortedError | OSError) -> str:
        """What the end of a process says of the constraint that it tried.

        Raises:
            UnavailableError: nothing.
        """
        if isinstance(error, ChildAbortedError) and error.is_overtime:
            return f"it takes more than {self._cpu_s:g} s to compile"
        if isinstance(error, ChildAbortedError) and error.is_overflow:
            return "it is too complex"
        raise UnavailableError("the constraint cannot be tried out now", retry_after_s=_RETRY_AFTER_S) from error

    def _forget(self, key: _Key, tenant: str, task: "asyncio.Task[None]") -> None:
        del self._trials[key]
        self._num_trials[tenant] -= 1
        if not self._num_trials[tenant]:
            del self._num_trials[tenant]
        if not task.cancelled():
            task.exception()  # a caller that left does not ask: mark it as seen


def _refused(constraint: Constraint, refusal: str, field: str) -> PenstockError:
    allowed = f"what llguidance compiles; it says: {refusal}"
    return InvalidArgumentError(f"{field}.{constraint.field}", constraint.shown, allowed)
