"""A client gets the prompt's log probabilities before any output, whichever replica comes first."""

from collections.abc import Callable


class PromptFirst:
    """Holds what is to be sent until the prompt's log probabilities are whole.

    Choices of one request may run on several replicas, and only one of them scores the prompt.

    Args:
        num_missing: prompt tokens whose log probabilities are to come.
    """

    def __init__(self, num_missing: int) -> None:
        self._num_missing = num_missing
        self._held: list[Callable[[], None]] = []

    def send(self, send: Callable[[], None]) -> None:
        """Now, or as soon as that may be."""
        if self._num_missing > 0:
            self._held.append(send)
        else:
            send()

    def took(self, num_tokens: int) -> None:
        """The log probabilities of so many more prompt tokens were sent."""
        self._num_missing -= num_tokens
        if self._num_missing <= 0:
            self.open()

    def open(self) -> None:
        """Sends what is held, and holds nothing any more."""
        self._num_missing = 0
        held, self._held = self._held, []
        for send in held:
            send()
