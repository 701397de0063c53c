"""A trial process: compiles constraints as the workers will, one at a time, and says which cannot be.

It reads requests from standard input and answers on standard output. What a hostile grammar costs is bounded by the
operating system: a limit on memory, an alarm on CPU time whose default action ends the process, and a stack much
smaller than the one that workers compile on, so that what overflows one there has overflowed this one before.
"""

import random
import resource
import signal
import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence

from llguidance import LLMatcher, LLTokenizer

from penstock_shared.frames import Frame, read_frame, to_frame
from penstock_shared.grammar import make_matcher, one_line

_STACK_BYTES = 4 << 20
_MAX_TOKENIZERS = 4
# Steps that a trial goes into the grammar: what is slow only behind its first tokens is found, too.
_NUM_STEPS = 12


class TableTokenizer:
    """A gateway's vocabulary as llguidance asks for it."""

    def __init__(self, tokens: Sequence[bytes], eos_token_ids: Sequence[int]) -> None:
        self.is_tokenizer_wrapper = True  # what llguidance tells one by
        self.tokens = tokens
        self.special_token_ids = list(eos_token_ids)
        self.eos_token_id = eos_token_ids[0]
        self.bos_token_id = None
        self._ids = {token: token_id for token_id, token in enumerate(tokens) if token}
        self._longest = max(map(len, self._ids))

    def __call__(self, text: str) -> list[int]:
        """The longest tokens in turn; bytes that begin none are left out. Asked for where only one text is left."""
        rest, ids = text.encode(), []
        while rest:
            sizes = range(min(self._longest, len(rest)), 0, -1)
            size = next((size for size in sizes if rest[:size] in self._ids), None)
            if size is not None:
                ids.append(self._ids[rest[:size]])
            rest = rest[size or 1 :]
        return ids


class Trials:
    """Compiles constraints for the vocabularies that it has been told of."""

    def __init__(self) -> None:
        self._tokenizers: OrderedDict[str, LLTokenizer] = OrderedDict()

    def learn(self, request: Frame) -> None:
        """Keeps the vocabulary that a request brings, where it brings one. That of the longest ago goes."""
        if "tokens" not in request:
            return
        tokens = [token.encode("latin-1") for token in request["tokens"]]
        table = TableTokenizer(tokens, request["eos_token_ids"])
        tokenizer = LLTokenizer(table, eos_token=request["eos_token_ids"])  # type: ignore[arg-type]  # by its shape
        self._tokenizers[request["tokenizer"]] = tokenizer
        if len(self._tokenizers) > _MAX_TOKENIZERS:
            self._tokenizers.popitem(last=False)

    def answer(self, request: Frame) -> Frame:
        """What is wrong with a constraint; nothing where workers can take it. And the tokenizers known from now on."""
        self._tokenizers.move_to_end(request["tokenizer"])
        return {"refusal": self._refusal(request), "known": list(self._tokenizers)}

    def _refusal(self, request: Frame) -> str | None:
        try:
            matcher = make_matcher(self._tokenizers[request["tokenizer"]], request["kind"], request["texts"])
            _walk(matcher)
        except MemoryError:
            return "it needs more memory than it may use"
        except BaseException as error:  # noqa: BLE001 - what llguidance panics with is no Exception
            return one_line(str(error) or type(error).__name__)
        return None


def _walk(matcher: LLMatcher) -> None:
    """Some random steps into the grammar. A dead end at its very beginning is refused; further in, it is only time.

    Raises:
        ValueError: it cannot begin.
    """
    choose = random.Random(0)  # noqa: S311 - repeatable, and no secret
    for step in range(_NUM_STEPS):
        allowed = _token_ids(matcher.compute_bitmask())
        if matcher.is_error() and step == 0:
            message = one_line(matcher.get_error())
            raise ValueError("no output can match it" if message.startswith("NoExtension") else message)
        if matcher.is_stopped() or not allowed:
            return
        matcher.consume_token(choose.choice(allowed))


def _token_ids(mask: bytes) -> list[int]:
    bits = int.from_bytes(mask, "little")
    return [index for index, bit in enumerate(reversed(f"{bits:b}")) if bit == "1"]


def _serve(cpu_s: float) -> None:
    """Says that it is ready, then answers until standard input ends."""
    trials = Trials()
    _write({})
    while (request := read_frame(sys.stdin.buffer)) is not None:
        trials.learn(request)
        signal.setitimer(signal.ITIMER_PROF, cpu_s)
        answer = trials.answer(request)
        signal.setitimer(signal.ITIMER_PROF, 0)
        _write(answer)


def _write(frame: Frame) -> None:
    sys.stdout.buffer.write(to_frame(frame))
    sys.stdout.buffer.flush()


def main() -> None:
    """Arguments: CPU seconds of a trial, bytes of address space."""
    cpu_s, max_memory_bytes = float(sys.argv[1]), int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the gateway ends us
    resource.setrlimit(resource.RLIMIT_AS, (max_memory_bytes, max_memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.stack_size(_STACK_BYTES)
    serving = threading.Thread(target=_serve, args=(cpu_s,), name="trials")
    serving.start()
    serving.join()


if __name__ == "__main__":
    main()
