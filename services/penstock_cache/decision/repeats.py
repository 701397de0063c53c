"""Prompts that come again and again and are served each time: one mistake about them is many errors."""

from collections import OrderedDict


class Repeats:
    """How often single prompts were served since they were last explored.

    Args:
        capacity: how many prompts are remembered, those served last.
    """

    def __init__(self, *, capacity: int) -> None:
        self._capacity = capacity
        self._num_served: OrderedDict[bytes, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._num_served)

    def num_served(self, prompt_key: bytes) -> int:
        """How often the prompt was served."""
        return self._num_served.get(prompt_key, 0)

    def served(self, prompt_key: bytes) -> None:
        """Counts one more."""
        self._num_served[prompt_key] = self._num_served.pop(prompt_key, 0) + 1
        if len(self._num_served) > self._capacity:
            self._num_served.popitem(last=False)

    def forget(self, prompt_key: bytes) -> None:
        """Begins anew: the prompt is explored."""
        self._num_served.pop(prompt_key, None)
