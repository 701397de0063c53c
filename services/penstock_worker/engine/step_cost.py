"""What a step costs by its rows, learnt from the steps. Needs no torch."""

# Of an observation's weight, what is left after each further one.
_MEMORY = 0.98
# A row is expected to cost this share of a step until steps of different sizes have shown better; it weighs as much as
# a spread of so many rows (squared).
_PRIOR_ROW_SHARE = 0.05
_PRIOR_SPREAD = 0.5
# A step that took longer than this many usual ones was held up by something else.
_OUTLIER = 3.0


class StepCost:
    """Fits `base + per_row * rows` to the recent steps that only decode."""

    def __init__(self) -> None:
        self._weight = 0.0
        self._rows = 0.0
        self._seconds = 0.0
        self._rows_rows = 0.0
        self._rows_seconds = 0.0

    def observe(self, num_rows: int, duration_s: float) -> None:
        """A step of so many rows has taken so long."""
        if self._weight > 1.0:
            duration_s = min(duration_s, _OUTLIER * self.of_step(num_rows))
        self._weight = self._weight * _MEMORY + 1.0
        self._rows = self._rows * _MEMORY + num_rows
        self._seconds = self._seconds * _MEMORY + duration_s
        self._rows_rows = self._rows_rows * _MEMORY + num_rows * num_rows
        self._rows_seconds = self._rows_seconds * _MEMORY + num_rows * duration_s

    def of_row(self) -> float:
        """Seconds that one more row takes; at least 0."""
        if not self._weight:
            return 0.0
        mean_rows, mean_s = self._rows / self._weight, self._seconds / self._weight
        spread = max(self._rows_rows / self._weight - mean_rows**2, 0.0)
        trend = self._rows_seconds / self._weight - mean_rows * mean_s
        prior = _PRIOR_ROW_SHARE * mean_s * _PRIOR_SPREAD
        return max((trend + prior) / (spread + _PRIOR_SPREAD), 0.0)

    def of_step(self, num_rows: int) -> float:
        """Seconds that a step of so many rows takes; more than 0 once a step was observed."""
        if not self._weight:
            return 0.0
        mean_rows, mean_s = self._rows / self._weight, self._seconds / self._weight
        return max(mean_s + (num_rows - mean_rows) * self.of_row(), mean_s / _OUTLIER)
