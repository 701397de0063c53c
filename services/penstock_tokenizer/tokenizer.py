"""One tokenizer: texts to ids and back, where text stays text unless somebody trusted wrote it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from penstock_shared.errors import FailedPreconditionError, InvalidArgumentError
from penstock_tokenizer.checkpoint import Checkpoint, JsonObject
from penstock_tokenizer.control_tokens import ControlToken, ControlTokens, Segment, looks_like_markup


@dataclass(frozen=True, slots=True)
class TextTokenizer:
    """A loaded tokenizer. Its methods are pure, hold the CPU, and may run in several threads.

    Control tokens are found by `controls`, never by the library: it is told to read all of them as text. So no
    content, however normalised, can produce one; what it produces is checked besides.

    Attributes:
        controls: the control tokens.
        special_ids: skipped by decoding.
        num_ids: one more than the largest id.
        decoder: the decoder of tokenizer.json.
    """

    controls: ControlTokens
    special_ids: frozenset[int]
    num_ids: int
    decoder: JsonObject | None
    _whole: Tokenizer
    _inside: Tokenizer  # the same for text that does not begin a prompt: without the space put before a first word
    _prefix_ids: tuple[int, ...]
    _suffix_ids: tuple[int, ...]
    _forbidden_ids: frozenset[int]

    def encode_texts(
        self, texts: Sequence[str], *, add_special_tokens: bool, allow_control_tokens: bool
    ) -> list[list[int]]:
        """Encodes a batch.

        Args:
            texts: what to encode.
            add_special_tokens: add what the tokenizer puts around any text.
            allow_control_tokens: read control tokens in the texts as such.

        Raises:
            InvalidArgumentError: a text holds a control token that the tokenizer cannot write as text.
        """
        if allow_control_tokens:
            encoded = [self.encode_segments(self.controls.split(text)) for text in texts]
        else:
            encoded = self._encode_plain(self._whole, texts)
        if not add_special_tokens:
            return encoded
        return [[*self._prefix_ids, *ids, *self._suffix_ids] for ids in encoded]

    def encode_segments(self, segments: Sequence[Segment]) -> list[int]:
        """Encodes a prompt cut by `ControlTokens.split`; text in the segments stays text."""
        texts = [segment.text for segment in segments if segment.token is None]
        begins_with_text = bool(segments) and segments[0].token is None
        num_first = 1 if begins_with_text else 0
        first = self._encode_plain(self._whole, texts[:num_first])
        encoded = iter(first + self._encode_plain(self._inside, texts[num_first:]))
        ids: list[int] = []
        for segment in segments:
            ids += next(encoded) if segment.token is None else [segment.token.token_id]
        return ids

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """The text of `ids`; ids without a token contribute nothing."""
        kept = [token_id for token_id in ids if not skip_special_tokens or token_id not in self.special_ids]
        return str(self._whole.decode(kept, skip_special_tokens=False))

    def token_text(self, token_id: int) -> str | None:
        """The token as the vocabulary spells it; None for an id without a token."""
        text: str | None = self._whole.id_to_token(token_id)
        return text

    def _encode_plain(self, tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        encodings = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        encoded: list[list[int]] = [encoding.ids for encoding in encodings]
        for index, ids in enumerate(encoded):
            if not self._forbidden_ids.isdisjoint(ids):
                encoded[index] = self._encode_broken_up(tokenizer, texts[index])
        return encoded

    def _encode_broken_up(self, tokenizer: Tokenizer, text: str) -> list[int]:
        """Encodes text whose control tokens the model's own vocabulary spells (Unigram keeps them as pieces)."""
        first, *rest = _cut_inside_tokens(self.controls.cut(text))
        pieces = tokenizer.encode_batch_fast([first], add_special_tokens=False)
        pieces += self._inside.encode_batch_fast(rest, add_special_tokens=False)
        ids = [token_id for piece in pieces for token_id in piece.ids]
        for token in self.controls:
            if token.token_id in self._forbidden_ids and token.token_id in ids:
                raise InvalidArgumentError("text", token.text, "text that the tokenizer can write without it")
        return ids


def make_tokenizer(checkpoint: Checkpoint) -> TextTokenizer:
    """Builds the tokenizer of a checkpoint; takes about a second for a vocabulary of 150,000.

    Raises:
        FailedPreconditionError: tokenizer.json describes nothing that the library can run.
    """
    document = checkpoint.document
    controls = ControlTokens(_find_controls(checkpoint))
    whole = _build(_with_controls_special(document, controls))
    unprefixed = _without_first_prefix(document)
    inside = whole if unprefixed == document else _build(_with_controls_special(unprefixed, controls))
    prefix_ids, suffix_ids = _surrounding_ids(whole)
    vocabulary = whole.get_vocab(with_added_tokens=True)
    return TextTokenizer(
        controls=controls,
        special_ids=frozenset(token.token_id for token in controls if token.is_special),
        num_ids=max(vocabulary.values(), default=-1) + 1,
        decoder=document.get("decoder"),
        _whole=whole,
        _inside=inside,
        _prefix_ids=prefix_ids,
        _suffix_ids=suffix_ids,
        _forbidden_ids=controls.ids - {_unknown_id(document["model"], vocabulary)},
    )


def _find_controls(checkpoint: Checkpoint) -> list[ControlToken]:
    named = set()
    for value in checkpoint.special_tokens.values():
        named.update([value] if isinstance(value, str) else value)
    written = checkpoint.template.text if checkpoint.template else ""
    return [
        ControlToken(token["id"], text, token["special"] or text in named, token["lstrip"], token["rstrip"])
        for token in checkpoint.document["added_tokens"]
        if (text := token["content"])
        and (token["special"] or text in named or (text in written and looks_like_markup(text)))
    ]


def _with_controls_special(document: JsonObject, controls: ControlTokens) -> JsonObject:
    """Flags exactly the control tokens as special: those the library then reads as text."""
    tokens = [token | {"special": token["id"] in controls.ids} for token in document["added_tokens"]]
    return document | {"added_tokens": tokens}


def _without_first_prefix(document: JsonObject) -> JsonObject:
    return document | {"pre_tokenizer": _never_prepending(document.get("pre_tokenizer"))}


def _never_prepending(part: Any) -> Any:
    if isinstance(part, list):
        return [_never_prepending(item) for item in part]
    if not isinstance(part, dict):
        return part
    changed = {key: _never_prepending(value) for key, value in part.items()}
    if changed.get("prepend_scheme") == "first":
        changed["prepend_scheme"] = "never"
    return changed


def _build(document: JsonObject) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_str(json.dumps(document))
    except Exception as error:  # the library raises bare exceptions
        raise FailedPreconditionError(f"tokenizer.json cannot be loaded: {error}") from error
    tokenizer.encode_special_tokens = True
    return tokenizer


def _surrounding_ids(tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What the post-processor puts before and after a text."""
    encoding = tokenizer.encode("a", add_special_tokens=True)
    is_added = [bool(flag) for flag in encoding.special_tokens_mask]
    if all(is_added):
        return tuple(encoding.ids), ()
    first = is_added.index(False)
    last = len(is_added) - is_added[::-1].index(False)
    return tuple(encoding.ids[:first]), tuple(encoding.ids[last:])


def _unknown_id(model: JsonObject, vocabulary: dict[str, int]) -> int | None:
    """The id of what the vocabulary cannot spell: the one special id that text may rightly produce."""
    if isinstance(model.get("unk_id"), int):
        return int(model["unk_id"])
    return vocabulary.get(model.get("unk_token") or "")


def _cut_inside_tokens(segments: Sequence[Segment]) -> list[str]:
    """The segments' text, cut after the first character of each control token."""
    pieces = [""]
    for segment in segments:
        if segment.token is None:
            pieces[-1] += segment.text
        else:
            pieces[-1] += segment.text[0]
            pieces.append(segment.text[1:])
    return pieces
