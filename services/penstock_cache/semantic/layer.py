"""The semantic layer: from a question to an answer that was given to another one, to an exploration, or to nothing."""

import asyncio
import hashlib
from dataclasses import dataclass, replace

from penstock_cache.entries import SemanticPart, StoredEntry
from penstock_cache.semantic.deciders import Deciders
from penstock_cache.semantic.encoder import EncoderError, UnreadablePromptError
from penstock_cache.semantic.judgement import Judgement, foresee, judge
from penstock_cache.semantic.learner import Learner
from penstock_cache.semantic.matches import MatchFinder
from penstock_cache.semantic.prompt_recogniser import Bond, bond_of
from penstock_cache.semantic.question import Outcome, Policy, Question, Verdict
from penstock_cache.semantic.reembedding import without_vector
from penstock_cache.semantic.tally import Tally
from penstock_cache.store import Store
from penstock_shared.errors import PenstockError
from penstock_shared.logs import get_logger

_BOUND_TO = {
    Bond.TIME: "the prompt asks of a moment: its answer is not shared by meaning",
    Bond.PERSON: "the prompt is personal: its answer is shared by meaning only within a scope that the request names",
}
_NOTHING_NEAR = "no prompt that was answered is near"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a lookup would come to: as a whole, and for each match alone, best first."""

    verdict: Verdict
    judgements: tuple[Judgement, ...] = ()


class SemanticLayer:
    """Looks up, explains, and learns. Its failures are verdicts with a reason, never errors.

    Args:
        store: has entries and labels.
        finder: of matches.
        deciders: by tenant and model.
        learner: of what explorations show.
        budget_s: the longest that a lookup may take.
        put_budget_s: the longest that an answer's prompt may take to be encoded.
        max_lookups: how many may be under way.

    Attributes:
        deciders: by tenant and model.
        learner: of what explorations show.
    """

    def __init__(
        self,
        *,
        store: Store,
        finder: MatchFinder,
        deciders: Deciders,
        learner: Learner,
        budget_s: float,
        put_budget_s: float,
        max_lookups: int,
    ) -> None:
        self._store = store
        self._finder = finder
        self.deciders = deciders
        self.learner = learner
        self._budget_s = budget_s
        self._put_budget_s = put_budget_s
        self._max_lookups = max_lookups
        self._num_lookups = 0
        self._log = get_logger("semantic")

    @property
    def encoder_fingerprint(self) -> str:
        """Of the encoder whose vectors are searched."""
        return self._finder.encoder_fingerprint

    async def look_up(self, question: Question, policy: Policy, *, time_left_s: float | None) -> Verdict:
        """What is to be done for a question that has no exact answer."""
        refusal = _refusal(question)
        if refusal:
            return Verdict(Outcome.MISS, refusal)
        tally = self.learner.tallies[question.tenant]
        if self._num_lookups >= self._max_lookups:
            tally.num_failures += 1
            return Verdict(Outcome.MISS, "too many lookups by meaning are under way")
        self._num_lookups += 1
        try:
            async with asyncio.timeout(self._budget_s if time_left_s is None else min(self._budget_s, time_left_s)):
                return await self._look_up(question, policy, tally)
        except UnreadablePromptError as error:
            return Verdict(Outcome.MISS, str(error))
        except Exception as error:  # noqa: BLE001 - the exact layer goes on, whatever fails here
            tally.num_failures += 1
            return Verdict(Outcome.MISS, self._why(error))
        finally:
            self._num_lookups -= 1

    async def explain(self, question: Question, policy: Policy) -> Explanation:
        """What `look_up` would come to, were it not drawn for an audit. Changes nothing.

        Raises:
            PenstockError: the store is out of reach.
        """
        refusal = _refusal(question)
        if refusal:
            return Explanation(Verdict(Outcome.MISS, refusal))
        try:
            matches = await self._finder.find(question)
        except (UnreadablePromptError, EncoderError) as error:
            return Explanation(Verdict(Outcome.MISS, str(error)))
        if not matches:
            return Explanation(Verdict(Outcome.MISS, _NOTHING_NEAR))
        decider = await self.deciders.of(question.tenant, question.model)
        key = _prompt_key(question)
        whole = foresee(matches, policy, decider, key)
        alone = tuple(foresee([match], policy, decider, key) for match in matches)
        return Explanation(_verdict(whole, None), alone)

    async def part_of(self, question: Question, cluster: str | None) -> SemanticPart | None:
        """By what else an answer to this question is found; None: by nothing.

        Where the encoder has no time now, the prompt is kept as one that waits for its vector.
        """
        if _refusal(question):
            return None
        try:
            async with asyncio.timeout(self._put_budget_s):
                return await self._finder.part_of(question, cluster)
        except UnreadablePromptError:
            return None
        except (TimeoutError, EncoderError):
            return without_vector(question.context_digest, question.prompt, cluster)

    async def _look_up(self, question: Question, policy: Policy, tally: Tally) -> Verdict:
        matches = await self._finder.find(question)
        decider = await self.deciders.of(question.tenant, question.model)
        tally.num_lookups += 1
        if not matches:
            return Verdict(Outcome.MISS, _NOTHING_NEAR)
        judgement = judge(matches, policy, decider, _prompt_key(question))
        if judgement.outcome is Outcome.MISS:
            return _verdict(judgement, None)
        entry_id = judgement.match.neighbour.entry_id
        entry = await self._store.entry(question.tenant, entry_id)
        if entry is None:
            return Verdict(Outcome.MISS, "the answer that was found is gone")
        if judgement.outcome is Outcome.SERVE:
            tally.num_hits += 1
            self._store.used(entry_id)
            return _verdict(judgement, entry)
        tally.num_explorations += 1
        return replace(_verdict(judgement, entry), exploration_token=self.learner.begin(question, judgement))

    def _why(self, error: Exception) -> str:
        match error:
            case TimeoutError():
                return "the lookup by meaning took too long"
            case EncoderError():
                return str(error)
            case PenstockError():
                return f"the lookup by meaning failed: {error.message}"
        self._log.error("the lookup by meaning failed", exc_info=error)
        return "the lookup by meaning failed"


def _refusal(question: Question) -> str:
    """Why a question is not answered by meaning; empty where it may be."""
    bond = bond_of(question.prompt)
    if bond is None or (bond is Bond.PERSON and question.is_scoped):
        return ""
    return _BOUND_TO[bond]


def _verdict(judgement: Judgement, entry: StoredEntry | None) -> Verdict:
    return Verdict(
        judgement.outcome,
        judgement.reason,
        entry,
        similarity=judgement.match.neighbour.similarity,
        probability=judgement.probability,
        error_bound=judgement.error_bound,
    )


def _prompt_key(question: Question) -> bytes:
    """Tells the same prompt in the same context from another one."""
    return hashlib.sha256(question.context_digest + question.prompt.encode()).digest()
