"""From conversations to dense rows: token ids, loss targets, positions and segment numbers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

import torch
from bpe import ASSISTANT, END, SYSTEM, USER, token_id
from corpus import Conversation
from transformers import PreTrainedTokenizerFast

SHORT_ROW_TOKENS = 256
LONG_ROW_TOKENS = 1024
OPEN_ROWS = 32
IGNORED = -100
EQUALS = "\u0120="
"""The token " =", as byte-level vocabularies write a blank."""


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation as ids; `is_target[i]` says that predicting token i counts in the loss."""

    ids: list[int]
    is_target: list[bool]


Rows = Sequence[Sequence[Sequence[Example]]]
"""Batches of rows of examples."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed rows, all int64 [rows, row_tokens] except the mask.

    `targets` holds the next token or IGNORED; `positions` restart with every conversation;
    `mask` (bool [rows, 1, row_tokens, row_tokens]) keeps conversations of one row apart.
    """

    ids: torch.Tensor
    targets: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor


class Encoder:
    """Encodes conversations exactly as the chat template renders them (asserted in training)."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer
        self._control = {name: token_id(tokenizer, name) for name in (SYSTEM, USER, ASSISTANT, END)}
        self._cache: dict[str, list[int]] = {}
        self._equals = token_id(tokenizer, EQUALS)

    def _text(self, text: str, is_target: bool) -> Example:
        if text not in self._cache:
            self._cache[text] = self._tokenizer.backend_tokenizer.encode(text).ids
        ids = self._cache[text]
        return Example(ids, [is_target] * len(ids))

    def _token(self, name: str, is_target: bool = False) -> Example:
        return Example([self._control[name]], [is_target])

    def encode(self, conversation: Conversation) -> Example:
        """Ids of the whole conversation; answers and their end tokens are targets."""
        if conversation.is_drill:
            parts = self._drill(conversation)
        else:
            parts = self._plain(conversation) if conversation.is_plain else self._chat(conversation)
        return Example([i for part in parts for i in part.ids], [t for part in parts for t in part.is_target])

    def _plain(self, conversation: Conversation) -> list[Example]:
        (turn,) = conversation.turns
        return [self._text(turn.question, False), self._text("\n" + turn.answer, True), self._token(END, True)]

    def _drill(self, conversation: Conversation) -> list[Example]:
        (turn,) = conversation.turns
        ids = self._text(turn.answer, True).ids
        start = ids.index(self._equals) + 1
        given, sought = Example(ids[:start], [False] * start), Example(ids[start:], [True] * (len(ids) - start))
        return [self._token(ASSISTANT), given, sought, self._token(END, True)]

    def _chat(self, conversation: Conversation) -> list[Example]:
        parts = []
        if conversation.system:
            parts += [self._token(SYSTEM), self._text(conversation.system, False), self._token(END)]
        for turn in conversation.turns:
            parts += [self._token(USER), self._text(turn.question, False), self._token(END)]
            parts += [self._token(ASSISTANT), self._text(turn.answer, True), self._token(END, True)]
        return parts


def pack(examples: Iterable[Example], row_tokens: int) -> list[list[Example]]:
    """Best fit into a few open rows: hardly any padding, and the order stays nearly random."""
    open_rows: list[list[Example]] = []
    room: list[int] = []
    closed = []
    for example in examples:
        fitting = [index for index, free in enumerate(room) if free >= len(example.ids)]
        if fitting:
            index = min(fitting, key=room.__getitem__)
            open_rows[index].append(example)
            room[index] -= len(example.ids)
            continue
        open_rows.append([example])
        room.append(row_tokens - len(example.ids))
        if len(open_rows) > OPEN_ROWS:
            fullest = min(range(len(room)), key=room.__getitem__)
            closed.append(open_rows.pop(fullest))
            room.pop(fullest)
    return closed + open_rows


def batches(examples: Sequence[Example], batch_tokens: int, rng: Random) -> list[list[list[Example]]]:
    """Rows of 256 tokens and, for conversations that are longer, of 1024; batches in random order."""
    usable = [example for example in examples if len(example.ids) <= LONG_ROW_TOKENS]
    grouped = []
    for row_tokens, wanted in (
        (SHORT_ROW_TOKENS, [e for e in usable if len(e.ids) <= SHORT_ROW_TOKENS]),
        (LONG_ROW_TOKENS, [e for e in usable if len(e.ids) > SHORT_ROW_TOKENS]),
    ):
        rows = pack(wanted, row_tokens)
        rng.shuffle(rows)
        num_rows = batch_tokens // row_tokens
        grouped += [rows[start : start + num_rows] for start in range(0, len(rows), num_rows)]
    rng.shuffle(grouped)
    return grouped


def collate(rows: Sequence[Sequence[Example]], pad_id: int) -> Batch:
    """Lay out packed rows as tensors."""
    longest = max(sum(len(example.ids) for example in row) for row in rows)
    row_tokens = SHORT_ROW_TOKENS if longest <= SHORT_ROW_TOKENS else LONG_ROW_TOKENS
    ids = torch.full((len(rows), row_tokens), pad_id)
    targets = torch.full((len(rows), row_tokens), IGNORED)
    positions = torch.zeros((len(rows), row_tokens), dtype=torch.int64)
    segments = torch.full((len(rows), row_tokens), -1)
    for number, row in enumerate(rows):
        start = 0
        for segment, example in enumerate(row):
            stop = start + len(example.ids)
            ids[number, start:stop] = torch.tensor(example.ids)
            wanted = [i if t else IGNORED for i, t in zip(example.ids, example.is_target, strict=True)]
            targets[number, start : stop - 1] = torch.tensor(wanted[1:])
            positions[number, start:stop] = torch.arange(len(example.ids))
            segments[number, start:stop] = segment
            start = stop
    same = segments[:, None, :, None] == segments[:, None, None, :]
    causal = torch.ones(row_tokens, row_tokens, dtype=torch.bool).tril()
    return Batch(ids, targets, positions, same & causal)
