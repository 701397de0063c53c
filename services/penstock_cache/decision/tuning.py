"""The decider's numbers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tuning:
    """How the decider weighs caution against hits.

    Attributes:
        safety: share of the allowed errors that is aimed at.
        window: how many requests the line between serving and exploring looks back.
        horizon: after how many requests an entry of the account counts for 1/e.
        stake_of_repeat: what a prompt's stake gains, in risks, each time it is served without a look.
        max_clusters: of how many clusters what was learned is kept.
        max_prompts: of how many served prompts it is known how often.
    """

    safety: float = 0.85
    window: int = 1000
    horizon: int = 5000
    stake_of_repeat: float = 1.0
    max_clusters: int = 20_000
    max_prompts: int = 20_000
