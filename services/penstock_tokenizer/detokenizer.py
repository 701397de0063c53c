"""Incremental decoding of outputs: text comes out as soon as later tokens can no longer change it."""

from collections.abc import Sequence

from penstock_tokenizer.tokenizer import TextTokenizer

_REPLACEMENT = "\ufffd"
_MAX_HELD_TOKENS = 64


class IncrementalDecoder:
    """Decodes one output, special tokens left out.

    Each time the tokens since the last certain text are decoded together with those of that text, so that a decoder
    which looks at neighbours (spaces between words, for example) sees them. Text that ends inside a character is held
    back, for at most 64 tokens: longer runs are no character.
    """

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self._shown: list[int] = []
        self._held: list[int] = []

    def add(self, ids: Sequence[int]) -> str:
        """Takes the next tokens and returns the text that has become certain."""
        self._held += [token_id for token_id in ids if token_id not in self._tokenizer.special_ids]
        text = self._held_text()
        if text.endswith(_REPLACEMENT) and len(self._held) <= _MAX_HELD_TOKENS:
            return ""
        if text:
            self._shown, self._held = self._held, []
        return text

    def finish(self) -> str:
        """What was held back."""
        text = self._held_text()
        self._held = []
        return text

    def _held_text(self) -> str:
        before = self._tokenizer.decode(self._shown, skip_special_tokens=False)
        both = self._tokenizer.decode(self._shown + self._held, skip_special_tokens=False)
        return both[len(before) :]
