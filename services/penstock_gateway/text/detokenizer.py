"""Token ids to text, a few at a time."""

import codecs
from collections.abc import Sequence

from penstock_gateway.text.vocabulary import Vocabulary

_make_decoder = codecs.getincrementaldecoder("utf-8")


class Detokenizer:
    """Decodes one output. However its tokens are split, the joined text is that of all of them decoded at once.

    Bytes that are not UTF-8 become U+FFFD as `bytes.decode(errors="replace")` has it; half a character is held back.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._token_bytes = vocabulary.token_bytes
        self._decoder = _make_decoder("replace")
        self._must_strip_space = vocabulary.strips_leading_space

    def feed(self, token_ids: Sequence[int]) -> str:
        """The text that has become certain with these tokens."""
        return self._decode(b"".join(map(self._bytes_of, token_ids)), is_last=False)

    def finish(self) -> str:
        """The rest: what was held back, as far as it goes."""
        return self._decode(b"", is_last=True)

    def _bytes_of(self, token_id: int) -> bytes:
        """An id past the table is padding of the model's output layer."""
        return self._token_bytes[token_id] if token_id < len(self._token_bytes) else b""

    def _decode(self, raw: bytes, *, is_last: bool) -> str:
        text = self._decoder.decode(raw, is_last)
        if self._must_strip_space and text:
            self._must_strip_space = False
            text = text.removeprefix(" ")
        return text
