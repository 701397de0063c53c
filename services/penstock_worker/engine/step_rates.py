"""Whether steps with drafts make more tokens a second than steps without, by trying both. Needs no torch."""

from dataclasses import dataclass

# Of so many steps some in a row go against what seems better, so that what seems so is known.
_TRIAL_PERIOD = 128
_TRIAL_STEPS = 4
# Fewer steps with drafts say nothing: the first ones are often wrong.
_FIRST_STEPS = 8
# Steps with drafts must be better by this: times are noisy, and what is hardly a gain is often none.
_LEAST_GAIN = 1.1
# What a step weighs in an average.
_WEIGHT = 0.1


@dataclass(slots=True)
class StepRates:
    """Averages over the recent steps of about one size, in tokens a second; None: there was none so far."""

    plain: float | None = None
    drafted: float | None = None
    num_steps: int = 0
    num_drafted_steps: int = 0

    @property
    def is_better(self) -> bool:
        """Whether steps with drafts have turned out to be better."""
        return self.plain is not None and self.drafted is not None and self.drafted > _LEAST_GAIN * self.plain

    def allows_drafts(self) -> bool:
        """Whether the next step may have drafts. Asked once a step."""
        self.num_steps += 1
        if self.plain is None or self.num_drafted_steps < _FIRST_STEPS:
            return self.plain is not None
        is_trial = self.num_steps % _TRIAL_PERIOD < _TRIAL_STEPS
        return self.is_better != is_trial

    def observe(self, num_tokens: int, duration_s: float, *, has_drafts: bool) -> None:
        """A step has given so many tokens in so long a time."""
        rate = num_tokens / max(duration_s, 1e-9)
        if has_drafts:
            self.drafted = _averaged(self.drafted, rate)
            self.num_drafted_steps += 1
        else:
            self.plain = _averaged(self.plain, rate)


def _averaged(average: float | None, value: float) -> float:
    return value if average is None else average + _WEIGHT * (value - average)
