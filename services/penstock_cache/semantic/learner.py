"""What explorations show: answers compared, labels kept, deciders taught."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from penstock_cache.decision.label import Label
from penstock_cache.semantic.answers.comparison import AnswerComparison
from penstock_cache.semantic.deciders import Deciders
from penstock_cache.semantic.explorations import Exploration, Explorations
from penstock_cache.semantic.judgement import Judgement
from penstock_cache.semantic.question import Question
from penstock_cache.semantic.tally import Tally
from penstock_cache.store import Store
from penstock_shared.errors import PenstockError
from penstock_shared.logs import get_logger


@dataclass(frozen=True, slots=True)
class Settlement:
    """What an exploration came to; `cluster` is whose answers the new one joins."""

    is_equivalent: bool
    cluster: str | None


class Learner:
    """Follows explorations from their token to their label.

    Args:
        store: has the answers.
        deciders: by tenant and model.
        explorations: under way.
        comparison: of answers.
        texts_of: the texts of a stored answer's choices.
        wall_clock: seconds since the epoch.

    Attributes:
        tallies: counts by tenant.
    """

    def __init__(
        self,
        store: Store,
        deciders: Deciders,
        explorations: Explorations,
        comparison: AnswerComparison,
        *,
        texts_of: Callable[[bytes], Sequence[str]],
        wall_clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._deciders = deciders
        self._explorations = explorations
        self._comparison = comparison
        self._texts_of = texts_of
        self._wall_clock = wall_clock
        self._log = get_logger("learner")
        self.tallies: defaultdict[str, Tally] = defaultdict(Tally)

    def tally(self, tenant: str) -> Tally:
        """Counts of a tenant, or of all together where `tenant` is empty."""
        if tenant:
            return self.tallies.get(tenant, Tally())
        return sum(self.tallies.values(), Tally())

    def begin(self, question: Question, judgement: Judgement) -> bytes:
        """Remembers what is explored and returns its token."""
        return self._explorations.begin(
            Exploration(
                tenant=question.tenant,
                model=question.model,
                exact_digest=question.exact_digest,
                entry_id=judgement.match.neighbour.entry_id,
                cluster=judgement.match.neighbour.cluster,
                score=judgement.score,
                propensity=judgement.propensity,
            )
        )

    async def settle(
        self, question: Question, token: bytes, texts: Sequence[str], *, is_equivalent: bool | None
    ) -> Settlement | None:
        """What the exploration of that token shows, now that the model has answered; None where it shows nothing.

        Args:
            question: whose answer it is; it must be the one that was told to explore.
            token: from the verdict.
            texts: of the answer's choices.
            is_equivalent: whether it says what the stored one says, where the caller knows.
        """
        exploration = self._explorations.end(token, question.tenant, question.exact_digest)
        if exploration is None:
            return None
        try:
            if is_equivalent is None:
                is_equivalent = await self._compare(exploration, texts, question.prompt)
            if is_equivalent is None:
                return None
            await self._learn(exploration, is_correct=is_equivalent)
        except PenstockError as error:
            self._log.warning("what an exploration showed is lost", error=error.message)
            return None
        return Settlement(is_equivalent, exploration.cluster if is_equivalent else None)

    async def _compare(self, exploration: Exploration, texts: Sequence[str], prompt: str) -> bool | None:
        entry = await self._store.entry(exploration.tenant, exploration.entry_id)
        if entry is None:
            return None
        return await self._comparison.are_equivalent(texts, self._texts_of(entry.answer), question=prompt)

    async def _learn(self, exploration: Exploration, *, is_correct: bool) -> None:
        label = Label(
            exploration.cluster, exploration.score, is_correct, exploration.propensity, time_s=self._wall_clock()
        )
        await self._deciders.learn(exploration.tenant, exploration.model, label)
        tally = self.tallies[exploration.tenant]
        tally.num_labels += 1
        tally.num_wrong_labels += not is_correct
        if exploration.is_audit:
            tally.num_audits += 1
            tally.num_wrong_audits += not is_correct
