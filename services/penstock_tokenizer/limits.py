"""Bounds of a request, checked before any work is done on it."""

from collections.abc import Sequence
from dataclasses import dataclass

from penstock_shared.errors import InvalidArgumentError


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What one request may hold.

    Attributes:
        max_texts: texts or token sequences of a batch.
        max_text_bytes: UTF-8 bytes of all texts together.
        max_token_ids: token ids of all sequences together.
        max_messages: messages, and tools, of a chat.
        max_open_outputs: outputs of a Detokenize stream that have not ended.
    """

    max_texts: int
    max_text_bytes: int
    max_token_ids: int
    max_messages: int
    max_open_outputs: int

    def check_texts(self, field: str, texts: Sequence[str]) -> int:
        """A batch of texts; returns its bytes."""
        _check_count(field, len(texts), self.max_texts, "texts")
        num_bytes = sum(len(text.encode()) for text in texts)
        if num_bytes > self.max_text_bytes:
            raise InvalidArgumentError(field, f"{num_bytes} bytes", f"at most {self.max_text_bytes} bytes together")
        return num_bytes

    def check_sequences(self, field: str, sequences: Sequence[Sequence[int]], num_ids: int) -> int:
        """A batch of token sequences whose ids are below `num_ids`; returns their number."""
        _check_count(field, len(sequences), self.max_texts, "sequences")
        num_tokens = sum(map(len, sequences))
        _check_count(field, num_tokens, self.max_token_ids, "token ids together")
        for index, ids in enumerate(sequences):
            check_ids(f"{field}[{index}].ids", ids, num_ids)
        return num_tokens

    def check_chat(self, num_messages: int, num_tools: int, num_bytes: int) -> None:
        """The size of a chat; `num_bytes` is that of the whole request."""
        if num_messages == 0:
            raise InvalidArgumentError("messages", "no message", f"1 to {self.max_messages} messages")
        _check_count("messages", num_messages, self.max_messages, "messages")
        _check_count("tools", num_tools, self.max_messages, "tools")
        _check_count("messages", num_bytes, self.max_text_bytes, "bytes, with tools")


def check_ids(field: str, ids: Sequence[int], num_ids: int) -> None:
    """Refuses ids that the vocabulary does not reach."""
    largest = max(ids, default=0)
    if largest >= num_ids:
        raise InvalidArgumentError(field, largest, f"token ids below {num_ids}")


def _check_count(field: str, count: int, maximum: int, what: str) -> None:
    if count > maximum:
        raise InvalidArgumentError(field, f"{count} {what}", f"at most {maximum} {what}")
