"""A semantic layer over a real store, with an encoder of words and a decider that does as it is told."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count

from fakes.clock import FakeClock
from fakes.word_encoder import WordEncoder
from penstock_cache import convert
from penstock_cache.decision.candidate import Candidate
from penstock_cache.decision.decision import Decision, DecisionKind
from penstock_cache.decision.error_estimate import ErrorEstimate
from penstock_cache.decision.label import Label
from penstock_cache.semantic.answers.comparison import AnswerComparison
from penstock_cache.semantic.cosine_verifier import CosineVerifier
from penstock_cache.semantic.deciders import Deciders
from penstock_cache.semantic.explorations import Explorations
from penstock_cache.semantic.layer import SemanticLayer
from penstock_cache.semantic.learner import Learner
from penstock_cache.semantic.matches import MatchFinder
from penstock_cache.semantic.verifier import Verifier
from penstock_cache.store import Store


class ObedientDecider:
    """Takes the first candidate and says what it was told to say.

    Attributes:
        kind: of every decision.
        score: of every decision.
        propensity: of every decision.
        labels: what it was taught.
        bounds: the `max_error_rate` of each decision.
    """

    def __init__(self) -> None:
        self.kind = DecisionKind.EXPLORE
        self.score = 1.5
        self.propensity = 1.0
        self.labels: list[Label] = []
        self.bounds: list[float] = []
        self.estimate = ErrorEstimate()

    def decide(self, candidates: Sequence[Candidate], *, max_error_rate: float, prompt_key: bytes = b"") -> Decision:
        """As told."""
        self.bounds.append(max_error_rate)
        self.estimate.decided(is_served=self.kind is DecisionKind.SERVE)
        return self.assess(candidates, max_error_rate=max_error_rate, prompt_key=prompt_key)

    def assess(self, candidates: Sequence[Candidate], *, max_error_rate: float, prompt_key: bytes = b"") -> Decision:
        """As told."""
        return Decision(self.kind, 0, self.score, 0.75, 0.5, self.propensity, f"told to {self.kind.name}")

    def learn(self, label: Label) -> None:
        """Remembers it."""
        self.labels.append(label)
        if label.propensity < 1:
            self.estimate.audited(propensity=label.propensity, is_correct=label.is_correct)

    def restore(self, labels: Sequence[Label]) -> None:
        """Remembers them."""
        self.labels += labels


class SemanticParts:
    """A layer and what it is made of.

    Attributes:
        encoder, decider, clock, layer: its parts; one decider for all tenants and models.
    """

    def __init__(
        self, store: Store, *, max_lookups: int = 8, budget_s: float = 10.0, verifier: Verifier | None = None
    ) -> None:
        numbers = count()
        self.encoder, self.decider, self.clock = WordEncoder(), ObedientDecider(), FakeClock()
        self.executor = ThreadPoolExecutor(1)
        deciders = Deciders(store, lambda: self.decider, clock=self.clock)  # type: ignore[arg-type,return-value]
        explorations = Explorations(
            max_open=8,
            max_open_of_tenant=8,
            lifetime_s=60,
            clock=self.clock,
            new_token=lambda: b"token %d" % next(numbers),
        )
        self.layer = SemanticLayer(
            store=store,
            finder=MatchFinder(
                store, self.encoder, verifier or CosineVerifier(), self.executor, num_neighbours=4, min_similarity=0.3
            ),
            deciders=deciders,
            learner=Learner(
                store,
                deciders,
                explorations,
                AnswerComparison(self.encoder, timeout_s=10),
                texts_of=convert.texts_of,
                wall_clock=self.clock,
            ),
            budget_s=budget_s,
            put_budget_s=budget_s,
            max_lookups=max_lookups,
        )
