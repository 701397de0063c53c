"""Shows answers, quiet notes, and errors."""

import re
import sys

from penstock.chat.cache_words import cache_words
from penstock.client import Answer

# What a terminal would obey and not show: all control characters but tab and line feed.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Screen:
    """Answers go to standard output, everything else to standard error, so that a pipe gets answers alone.

    Args:
        is_interactive: whether a person sits there who wants notes, at a terminal that must be kept from obeying what
            a model writes.
    """

    def __init__(self, *, is_interactive: bool) -> None:
        self.is_interactive = is_interactive

    def piece(self, text: str) -> None:
        """A piece of an answer."""
        sys.stdout.write(_CONTROL.sub("", text) if self.is_interactive else text)
        sys.stdout.flush()

    def end_answer(self) -> None:
        """The answer is over."""
        sys.stdout.write("\n")
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Something beside the conversation; people only."""
        if self.is_interactive:
            sys.stdout.flush()
            print(f"\x1b[2m{text}\x1b[0m", file=sys.stderr, flush=True)  # noqa: T201 - the command line's own voice

    def error(self, text: str) -> None:
        """Something went wrong; the conversation goes on."""
        sys.stdout.flush()
        shown = f"\x1b[31m{text}\x1b[0m" if self.is_interactive else f"error: {text}"
        print(shown, file=sys.stderr, flush=True)  # noqa: T201 - the command line's own voice


def figures(answer: Answer) -> str:
    """Time to an answer's first token, its tokens, how many came a second after the first; what the cache did."""
    timings, num_tokens = answer.timings, answer.usage.completion_tokens
    parts = [f"{num_tokens} tokens"]
    if timings.time_to_first_token_s is not None:
        parts.insert(0, f"first token {timings.time_to_first_token_s * 1e3:.0f} ms")
    if timings.decode_s and num_tokens > 1:
        parts.append(f"{(num_tokens - 1) / timings.decode_s:.0f} tokens/s")
    return " · ".join(parts + cache_words(answer.cache))
