"""Whether steps with drafts make more tokens a second than steps without, by trying both. Needs no torch."""

from dataclasses import dataclass

# Of so many steps one goes against what seems better, so that what seems so is known.
_TRIAL_PERIOD = 64
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

    def allows_drafts(self) -> bool:
        """Whether the next step may have drafts. Asked once a step."""
        self.num_steps += 1
        if self.plain is None or self.drafted is None:
            return self.plain is not None
        is_better = self.drafted > _LEAST_GAIN * self.plain
        is_trial = self.num_steps % _TRIAL_PERIOD == 0
        return is_better != is_trial

    def observe(self, num_tokens: int, duration_s: float, *, has_drafts: bool) -> None:
        """A step has given so many tokens in so long a time."""
        rate = num_tokens / max(duration_s, 1e-9)
        if has_drafts:
            self.drafted = _averaged(self.drafted, rate)
        else:
            self.plain = _averaged(self.plain, rate)


def _averaged(average: float | None, value: float) -> float:
    return value if average is None else average + _WEIGHT * (value - average)
