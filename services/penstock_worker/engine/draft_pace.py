"""How many tokens to draft, so that it pays. Needs no torch.

A draft of k tokens whose next token is right with probability a adds a + a^2 + ... + a^k tokens. The k-th pays while
a^k, what it brings, is more than its cost times the tokens that are made in that time anyway. The probability is
learnt for each sequence, the cost from the steps. Where nothing pays, a short draft now and then finds out whether
that has changed. Above that stands what has come out: if steps with drafts give fewer tokens a second than steps
without, there are none, whatever the estimates say.
"""

import math
from dataclasses import dataclass

from penstock_worker.engine.step_cost import StepCost
from penstock_worker.engine.step_rates import StepRates

MAX_DRAFT_TOKENS = 8
_PROBE_TOKENS = 2
_FIRST_PAUSE = 16
_LONGEST_PAUSE = 512
# Of what was seen of a sequence, what still counts after each further draft; and of all sequences.
_MEMORY = 0.9
_OVERALL_MEMORY = 0.99
# A sequence of which little was seen is taken for one like all, which are taken for this at first.
_OVERALL_WEIGHT = 3.0
_FIRST_RATE = 0.6
_FIRST_WEIGHT = 4.0
# A draft must bring this much more than it costs: both are only estimates.
_MARGIN = 1.2
_SURE = 0.995


@dataclass(slots=True)
class DraftRecord:
    """How drafts of one sequence fared: of `num_tried` tokens that could be judged, `num_right` were right.

    Older ones count less. `num_skipped` counts its steps without a draft since the last one, of `pause` that there are
    to be.
    """

    num_right: float = 0.0
    num_tried: float = 0.0
    num_skipped: int = 0
    pause: int = _FIRST_PAUSE

    def note(self, num_drafted: int, num_accepted: int, memory: float = _MEMORY) -> None:
        """A draft was judged. Behind the first wrong token nothing can be said."""
        self.num_right = self.num_right * memory + num_accepted
        self.num_tried = self.num_tried * memory + min(num_drafted, num_accepted + 1)


class DraftPace:
    """Decides on the length of drafts, and learns what it must know for that."""

    def __init__(self) -> None:
        self._cost = StepCost()
        self._overall = DraftRecord(_FIRST_RATE * _FIRST_WEIGHT, _FIRST_WEIGHT)
        self._draft_token_s = 0.0
        self._rates: dict[int, StepRates] = {}
        self._most_tokens = MAX_DRAFT_TOKENS

    def allows_drafts(self, num_rows: int) -> bool:
        """Whether a step that has `num_rows` rows without drafts may have any. Asked once a step."""
        rates = self._rates_of(num_rows)
        self._most_tokens = MAX_DRAFT_TOKENS if rates.is_better else _PROBE_TOKENS
        return rates.allows_drafts()

    def length(self, record: DraftRecord, num_rows: int) -> int:
        """How many tokens to draft for a sequence in a step of `num_rows` rows without drafts. Asked once a step."""
        length = self._paying_length(record, num_rows)
        if length:
            return min(length, self._most_tokens)
        record.num_skipped += 1
        return _PROBE_TOKENS if record.num_skipped > record.pause else 0

    def judged(self, record: DraftRecord, num_drafted: int, num_accepted: int) -> None:
        """A draft of a sequence was compared with what the model gave."""
        record.note(num_drafted, num_accepted)
        self._overall.note(num_drafted, num_accepted, _OVERALL_MEMORY)
        record.num_skipped = 0
        record.pause = _FIRST_PAUSE if num_accepted else min(2 * record.pause, _LONGEST_PAUSE)

    def drafted(self, num_tokens: int, duration_s: float) -> None:
        """To draft so many tokens has taken so long."""
        if num_tokens:
            self._draft_token_s += 0.1 * (duration_s / num_tokens - self._draft_token_s)

    def took(self, num_rows: int, duration_s: float) -> None:
        """A step of so many rows that only decoded has taken so long, without the drafting."""
        self._cost.observe(num_rows, duration_s)

    def gave(self, num_rows: int, num_tokens: int, duration_s: float, *, has_drafts: bool) -> None:
        """It had `num_rows` rows without drafts, and has given so many tokens, in so long a time with the drafting."""
        self._rates_of(num_rows).observe(num_tokens, duration_s, has_drafts=has_drafts)

    def _rates_of(self, num_rows: int) -> StepRates:
        """Of steps of about this size: within a factor of two."""
        return self._rates.setdefault(num_rows.bit_length(), StepRates())

    def _paying_length(self, record: DraftRecord, num_rows: int) -> int:
        step_s = self._cost.of_step(num_rows)
        if not step_s:
            return 0  # the first steps show what a step costs
        rate = min(self._rate(record), _SURE)
        least = _MARGIN * num_rows * (self._cost.of_row() + self._draft_token_s) / step_s
        if rate <= least:
            return 0
        return min(int(math.log(least) / math.log(rate)), MAX_DRAFT_TOKENS) if least > 0.0 else MAX_DRAFT_TOKENS

    def _rate(self, record: DraftRecord) -> float:
        """Probability that the next token of a draft is right."""
        overall = self._overall.num_right / self._overall.num_tried
        return (record.num_right + overall * _OVERALL_WEIGHT) / (record.num_tried + _OVERALL_WEIGHT)
