"""A sequence's place in its grammar, and the compiled grammars that sequences share. Runs in the mask process."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future

from llguidance import LLMatcher, LLTokenizer

from penstock_shared.grammar import make_matcher, one_line
from penstock_worker.constraints.wire import MaskState, Reply

_Source = tuple[str, ...]


class GrammarCache:
    """Compiled grammars, the least recently used forgotten first. One that is being compiled is waited for.

    Args:
        tokenizer: of the model.
        max_grammars: how many are kept.
    """

    def __init__(self, tokenizer: LLTokenizer, max_grammars: int) -> None:
        self._tokenizer = tokenizer
        self._max_grammars = max_grammars
        self._compiled: OrderedDict[_Source, Future[LLMatcher]] = OrderedDict()
        self._lock = threading.Lock()
        self.num_compiled = 0

    def __len__(self) -> int:
        return len(self._compiled)

    def matcher(self, kind: str, texts: Sequence[str]) -> LLMatcher:
        """A matcher at the beginning of its grammar, the caller's own.

        Raises:
            ValueError: the constraint cannot be compiled.
        """
        source = (kind, *texts)
        with self._lock:
            compiled = self._compiled.get(source)
            is_mine = compiled is None
            if compiled is None:
                compiled = self._compiled[source] = Future()
                self.num_compiled += 1
            self._compiled.move_to_end(source)
            if len(self._compiled) > self._max_grammars:
                self._compiled.popitem(last=False)
        if is_mine:
            self._compile(source, compiled)
        return compiled.result().deep_copy()

    def _compile(self, source: _Source, compiled: "Future[LLMatcher]") -> None:
        try:
            compiled.set_result(make_matcher(self._tokenizer, source[0], list(source[1:])))
        except BaseException as error:
            compiled.set_exception(error)
            with self._lock:
                self._compiled.pop(source, None)
            raise


class SequenceMatcher:
    """Where one sequence stands in its grammar. Used by one thread at a time.

    Args:
        key: the sequence.
        matcher: its own, at the beginning of the grammar.
        vocab_size: each mask has so many bits, rounded up to whole bytes.
        eos_token_ids: tokens that mean the end and nothing else.
    """

    def __init__(self, key: int, matcher: LLMatcher, *, vocab_size: int, eos_token_ids: Sequence[int]) -> None:
        self._key = key
        self._matcher = matcher
        self._mask_bytes = (vocab_size + 7) // 8
        self._eos_mask = sum(1 << token_id for token_id in set(eos_token_ids))

    def accept(self, token_ids: Sequence[int]) -> None:
        """Goes on by chosen tokens.

        Raises:
            ValueError: the grammar does not allow one of them.
        """
        if token_ids and not self._matcher.consume_tokens(list(token_ids)):
            raise ValueError(one_line(self._matcher.get_error()))

    def rollback(self, num_tokens: int) -> None:
        """Goes back by the last tokens."""
        if num_tokens and not self._matcher.rollback(num_tokens):
            raise ValueError(one_line(self._matcher.get_error()))

    def reply(self, drafted: Sequence[int] = ()) -> Reply:
        """The masks of the next token and of those along a draft, as far as the grammar follows it.

        Raises:
            ValueError: a bound of the matcher is reached, or no token of the vocabulary can go on.
        """
        masks = [self._mask()]
        if self._is_complete(masks[0]):
            return Reply(self._key, MaskState.COMPLETE)
        num_followed = 0
        for token_id in drafted:
            if not _allows(masks[-1], token_id) or not self._matcher.consume_token(token_id):
                break
            num_followed += 1
            masks.append(self._mask())
        self.rollback(num_followed)
        return Reply(self._key, MaskState.READY, b"".join(masks))

    def _mask(self) -> bytes:
        mask = self._matcher.compute_bitmask()
        if self._matcher.is_error():
            raise ValueError(one_line(self._matcher.get_error()))
        return mask[: self._mask_bytes]

    def _is_complete(self, mask: bytes) -> bool:
        """Whether there is nothing but an end.

        Raises:
            ValueError: there is not even that.
        """
        allowed = int.from_bytes(mask, "little")
        if not allowed:
            raise ValueError("no token of the vocabulary can go on")
        return not allowed & ~self._eos_mask


def _allows(mask: bytes, token_id: int) -> bool:
    return token_id // 8 < len(mask) and bool(mask[token_id // 8] >> token_id % 8 & 1)
