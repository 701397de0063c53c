"""What the decider says to a request."""

import enum
from dataclasses import dataclass


class DecisionKind(enum.Enum):
    """What the caller is to do with the candidate."""

    SERVE = enum.auto()
    EXPLORE = enum.auto()


@dataclass(frozen=True, slots=True)
class Decision:
    """The choice of one candidate, and what is done with it.

    Attributes:
        kind: SERVE its answer, or EXPLORE: let the model answer, compare the two, and report a `Label`.
        index: of the chosen candidate among those that were offered.
        score: logit that its answer serves, by the scores of all; what its label carries.
        probability: estimated, that its answer serves the prompt.
        error_bound: upper bound of the probability that it does not, from how much is known.
        propensity: the probability with which such a request is explored; below one where the candidate is good enough
            to be served. Of an exploration: what its label carries.
        reason: in a few words.
    """

    kind: DecisionKind
    index: int
    score: float
    probability: float
    error_bound: float
    propensity: float
    reason: str

    @property
    def is_audit(self) -> bool:
        """Whether the candidate would have been served, had the draw not fallen on it."""
        return self.kind is DecisionKind.EXPLORE and self.propensity < 1
