"""What an exploration showed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Label:
    """One comparison of a stored answer with the answer that the model gave.

    Attributes:
        cluster: of the stored answer.
        score: the decision's, that it serves the prompt.
        is_correct: whether it would have.
        propensity: the probability with which such a request is explored, in (0, 1].
        time_s: when it was seen, in seconds since the epoch.
    """

    cluster: str
    score: float
    is_correct: bool
    propensity: float
    time_s: float
