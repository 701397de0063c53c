"""The vocabulary as a table from id to bytes, for tokenizers whose decoder looks at one token at a time.

With it a caller decodes on its own: concatenate the bytes, read them as UTF-8. The table is checked against the
tokenizer's own decoder before it is handed out.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from penstock_shared.errors import FailedPreconditionError
from penstock_tokenizer.checkpoint import JsonObject
from penstock_tokenizer.tokenizer import TextTokenizer

_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")
_SPACE = " "
_IDS_PER_CHECK = 64
_SAMPLES = (
    "Hello, world! It's 3.14159 o'clock, isn't it?",
    "  two leading spaces, a tab\t, and trailing ones  ",
    "line one\nline two\r\n\n\n    indented = {'key': [1, 2, 3]}  # comment",
    "Größe, façade, naïve, Ærø, łódź, ΑΒΓδ, Привет, שלום, مرحبا",
    "日本語のテキスト、中文文本。한국어 텍스트, ไทย, हिन्दी",
    "😀👩‍👩‍👧‍👦🇫🇷 e\u0301 \u200b\ufeff ∑∫√ ½ ™",
    "<p class='x'>a < b && c > d</p> \\n %20 $x^2$ ``` | pipe |",
)

_TokenReader = Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What each id contributes to an output.

    Attributes:
        entries: bytes by id; empty where there is no token.
        special_ids: ids that contribute nothing where special tokens are skipped.
        strips_leading_space: the output loses one leading space.
    """

    entries: Sequence[bytes] = field(repr=False)
    special_ids: frozenset[int] = field(repr=False)
    strips_leading_space: bool

    def decode(self, ids: Iterable[int]) -> str:
        """What a caller makes of `ids` with this table, special tokens included."""
        content = b"".join(self.entries[token_id] for token_id in ids)
        if self.strips_leading_space:
            content = content.removeprefix(_SPACE.encode())
        return content.decode("utf-8", errors="replace")


def build_vocabulary(tokenizer: TextTokenizer) -> Vocabulary:
    """The table of `tokenizer`; takes about half a second for a vocabulary of 150,000.

    Raises:
        FailedPreconditionError: no table expresses its decoder.
    """
    reader = _DecoderReader()
    reader.add(tokenizer.decoder)
    entries = [_entry(tokenizer.token_text(token_id), reader.read) for token_id in range(tokenizer.num_ids)]
    vocabulary = Vocabulary(entries, tokenizer.special_ids, reader.strips_leading_space)
    _check(vocabulary, tokenizer)
    return vocabulary


def _entry(token: str | None, read: _TokenReader) -> bytes:
    return b"" if token is None else read(token)


class _DecoderReader:
    """Follows a decoder's description step by step and says what it does to a single token."""

    def __init__(self) -> None:
        self.strips_leading_space = False
        self._replacements: list[tuple[str, str]] = []
        self._reads_byte_tokens = False
        self._reads_byte_letters = False
        self._is_fused = False

    def add(self, decoder: JsonObject | None) -> None:
        """Takes one step, or a sequence of them."""
        kind = decoder["type"] if decoder else None
        add = {
            "Sequence": self._add_sequence,
            "ByteLevel": self._add_byte_level,
            "ByteFallback": self._add_byte_fallback,
            "Fuse": self._add_fuse,
            "Metaspace": self._add_metaspace,
            "Replace": self._add_replace,
            "Strip": self._add_strip,
        }.get(str(kind))
        if add is None or decoder is None:
            raise _inexpressible(f"its decoder is {kind}")
        add(decoder)

    def read(self, token: str) -> bytes:
        """The bytes that `token` contributes."""
        if self._reads_byte_tokens and (match := _BYTE_TOKEN.fullmatch(token)):
            return bytes([int(match.group(1), 16)])
        for old, new in self._replacements:
            token = token.replace(old, new)
        return _read_byte_letters(token) if self._reads_byte_letters else token.encode()

    def _add_sequence(self, decoder: JsonObject) -> None:
        for step in decoder["decoders"]:
            self.add(step)

    def _add_byte_level(self, _decoder: JsonObject) -> None:
        self._reads_byte_letters = True

    def _add_byte_fallback(self, _decoder: JsonObject) -> None:
        self._reads_byte_tokens = True

    def _add_fuse(self, _decoder: JsonObject) -> None:
        self._is_fused = True

    def _add_metaspace(self, decoder: JsonObject) -> None:
        self._replacements.append((decoder["replacement"], _SPACE))
        self.strips_leading_space = decoder["prepend_scheme"] != "never"

    def _add_replace(self, decoder: JsonObject) -> None:
        pattern = decoder["pattern"].get("String")
        if pattern is None or self._is_fused:
            raise _inexpressible("its decoder replaces by a pattern over several tokens")
        self._replacements.append((pattern, decoder["content"]))

    def _add_strip(self, decoder: JsonObject) -> None:
        strips = (decoder["content"], decoder["start"], decoder["stop"])
        if strips != (_SPACE, 1, 0) or not self._is_fused:
            raise _inexpressible("its decoder strips more than one leading space")
        self.strips_leading_space = True


def _check(vocabulary: Vocabulary, tokenizer: TextTokenizer) -> None:
    """Compares with the tokenizer's decoder on texts of many scripts and on every token of the table."""
    encoded = tokenizer.encode_texts(_SAMPLES, add_special_tokens=True, allow_control_tokens=False)
    for ids in (*encoded, *_all_tokens(vocabulary, tokenizer)):
        if vocabulary.decode(ids) != tokenizer.decode(ids, skip_special_tokens=False):
            raise _inexpressible("its decoder looks at neighbouring tokens")


def _all_tokens(vocabulary: Vocabulary, tokenizer: TextTokenizer) -> Iterator[list[int]]:
    """Every token in runs, and alone where the first token is read in a way of its own.

    Without byte tokens, which make text only in the right order.
    """
    ids = [
        token_id
        for token_id in range(tokenizer.num_ids)
        if (text := tokenizer.token_text(token_id)) is not None and not _BYTE_TOKEN.fullmatch(text)
    ]
    for start in range(0, len(ids), _IDS_PER_CHECK):
        yield ids[start : start + _IDS_PER_CHECK]
    if vocabulary.strips_leading_space:
        yield from ([token_id] for token_id in ids)


def _inexpressible(why: str) -> FailedPreconditionError:
    return FailedPreconditionError(f"no table of bytes expresses this tokenizer: {why}; use Detokenize")


def _read_byte_letters(token: str) -> bytes:
    """GPT-2's spelling of bytes as printable letters, undone; a token with any other character is plain text."""
    try:
        return bytes(_BYTE_OF_LETTER[char] for char in token)
    except KeyError:
        return token.encode()


def _byte_letters() -> dict[str, int]:
    """Printable Latin-1 bytes are spelled as themselves, the others, in order, as the letters from U+0100 on.

    (Radford et al. 2019, the released encoder's `bytes_to_unicode`.)
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + index): byte for index, byte in enumerate(others)}


_BYTE_OF_LETTER = _byte_letters()
