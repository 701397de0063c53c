"""Labels that lie: comparing two answers errs in both directions."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LabelNoise:
    """How often a label says the opposite of what is so.

    Attributes:
        missed: share of right answers that are labelled wrong.
        mistaken: share of wrong answers that are labelled right.
    """

    missed: float = 0.0
    mistaken: float = 0.0

    @property
    def signal(self) -> float:
        """How much oftener a right answer is labelled right than a wrong one."""
        return 1 - self.missed - self.mistaken

    def chance(self, probability: float, *, is_correct: bool) -> float:
        """How likely such a label is of an answer that is right with that probability."""
        labelled_right = self.mistaken + self.signal * probability
        return labelled_right if is_correct else 1 - labelled_right
