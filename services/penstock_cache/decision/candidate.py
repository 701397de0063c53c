"""A stored answer that might be served."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the decider is told of a stored answer.

    Attributes:
        cluster: whose answers are known to serve each other's prompts.
        score: the verifier's logit that the answer serves the prompt.
        created_s: when the answer was given, in seconds since the epoch: then it was right for its own prompt.
    """

    cluster: str
    score: float
    created_s: float
