"""The mask process: keeps the place of each sequence in its grammar and answers with the tokens allowed next.

A few threads compile, others compute masks, so that no compilation holds up a running sequence; llguidance releases the
interpreter's lock. A thread that spends more CPU time on one request than it may ends the process, after a last reply
that names the sequence: nothing else ends what llguidance has begun.
"""

import os
import queue
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from llguidance import LLTokenizer

from penstock_shared.frames import Frame, read_frame
from penstock_shared.grammar import one_line
from penstock_worker.constraints.matching import GrammarCache, SequenceMatcher
from penstock_worker.constraints.wire import GREETING_KEY, MaskState, Reply, pack_reply

# Far more than the gateway's trial compiled on: what overflows here has overflowed there.
_STACK_BYTES = 64 << 20
_MAX_MEMORY_BYTES = 8 << 30  # of address space
_MAX_GRAMMARS = 256
_NUM_COMPILERS = 2
_NUM_MASKERS = 2
_COMPILER_NICENESS = 10
_WATCH_INTERVAL_S = 0.02
_LAST_WORDS_S = 1.0


@dataclass(slots=True)
class _Job:
    """What a thread is at: for whom, since which CPU time of that thread, until which."""

    key: int
    clock: int
    ends_s: float


class MaskServer:
    """Answers requests.

    Args:
        cache: compiles.
        vocab_size: of the model.
        eos_token_ids: tokens that end a sequence.
        replies: where answers go.
        max_open_s, max_advance_s: CPU time that a request may take.
    """

    def __init__(
        self,
        cache: GrammarCache,
        replies: "ReplyWriter",
        *,
        vocab_size: int,
        eos_token_ids: list[int],
        max_open_s: float,
        max_advance_s: float,
    ) -> None:
        self._cache = cache
        self._max_open_s = max_open_s
        self._max_advance_s = max_advance_s
        self._vocab_size = vocab_size
        self._eos_token_ids = eos_token_ids
        self._replies = replies
        self._matchers: dict[int, SequenceMatcher] = {}
        self._opening: set[int] = set()  # and not closed meanwhile
        self._lock = threading.Lock()
        self._jobs: dict[int, _Job] = {}
        self._opens: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        self._advances: queue.SimpleQueue[Frame] = queue.SimpleQueue()

    def start(self) -> None:
        """Starts the threads; they end with the process."""
        for _ in range(_NUM_COMPILERS):
            _start_thread("compiler", lambda: self._work(self._opens, self._open, self._max_open_s, _COMPILER_NICENESS))
        for _ in range(_NUM_MASKERS):
            _start_thread("masks", lambda: self._work(self._advances, self._advance, self._max_advance_s, 0))
        _start_thread("watch", self._watch)

    def take(self, request: Frame) -> None:
        """Has a request worked on."""
        match request["do"]:
            case "open":
                self._opening.add(request["key"])
                self._opens.put(request)
            case "advance":
                self._advances.put(request)
            case _:
                self._close(request["key"])

    def _work(
        self, requests: "queue.SimpleQueue[Frame]", answer: Callable[[Frame], Reply], max_cpu_s: float, niceness: int
    ) -> None:
        ident = threading.get_ident()
        clock = time.pthread_getcpuclockid(ident)
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.nice(0) + niceness)
        while True:
            request = requests.get()
            key = request["key"]
            self._jobs[ident] = _Job(key, clock, time.clock_gettime(clock) + max_cpu_s)
            reply = self._answered(request, answer)
            del self._jobs[ident]
            self._replies.put(reply)

    def _answered(self, request: Frame, answer: Callable[[Frame], Reply]) -> Reply:
        """The answer. A sequence that fails leaves nothing: it is not closed."""
        key = request["key"]
        try:
            return answer(request)
        except BaseException as error:  # noqa: BLE001 - what llguidance panics with is no Exception; the thread goes on
            self._close(key)
            return Reply(key, MaskState.FAILED, message=one_line(str(error) or type(error).__name__))

    def _open(self, request: Frame) -> Reply:
        key = request["key"]
        start = self._cache.matcher(request["kind"], request["texts"])
        matcher = SequenceMatcher(key, start, vocab_size=self._vocab_size, eos_token_ids=self._eos_token_ids)
        matcher.accept(request["token_ids"])
        reply = matcher.reply()
        with self._lock:
            if key in self._opening:
                self._opening.remove(key)
                self._matchers[key] = matcher
        return reply

    def _advance(self, request: Frame) -> Reply:
        matcher = self._matchers.get(request["key"])
        if matcher is None:
            raise ValueError("the sequence is closed")
        matcher.accept(request["token_ids"])
        return matcher.reply(request["drafted"])

    def _close(self, key: int) -> None:
        with self._lock:
            self._opening.discard(key)
            self._matchers.pop(key, None)

    def _watch(self) -> None:
        while True:
            time.sleep(_WATCH_INTERVAL_S)
            for job in tuple(self._jobs.values()):
                if _is_over(job):
                    self._replies.put_last(Reply(job.key, MaskState.FATAL, message="it takes too much time"))
                    os._exit(1)


def _is_over(job: _Job) -> bool:
    """Whether a job has had its time. The clock of a thread that is gone cannot be read."""
    try:
        return time.clock_gettime(job.clock) > job.ends_s
    except OSError:
        return False


class ReplyWriter:
    """Writes replies in a thread of its own: who computes never waits for the replica to read."""

    def __init__(self, file_descriptor: int) -> None:
        self._file_descriptor = file_descriptor
        self._replies: queue.SimpleQueue[Reply] = queue.SimpleQueue()
        self._has_written_last = threading.Event()
        self._last: Reply | None = None
        _start_thread("replies", self._run)

    def put(self, reply: Reply) -> None:
        """Queues a reply."""
        self._replies.put(reply)

    def put_last(self, reply: Reply) -> None:
        """Returns when a reply is written, or the replica does not read."""
        self._last = reply
        self._replies.put(reply)
        self._has_written_last.wait(_LAST_WORDS_S)

    def _run(self) -> None:
        while True:
            replies = [self._replies.get()]
            while not self._replies.empty():
                replies.append(self._replies.get())
            rest = memoryview(b"".join(map(pack_reply, replies)))
            while rest:
                rest = rest[os.write(self._file_descriptor, rest) :]
            if self._last in replies:
                self._has_written_last.set()


def _start_thread(name: str, target: Callable[[], None]) -> None:
    threading.Thread(target=target, name=name, daemon=True).start()


def main() -> None:
    """Arguments: tokenizer.json, CPU seconds to open and to advance, size of the vocabulary, end-of-sequence ids."""
    path, max_open_s, max_advance_s, vocab_size, *eos_texts = sys.argv[1:]
    eos_token_ids = [int(text) for text in eos_texts]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the replica ends us
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.stack_size(_STACK_BYTES)
    tokenizer = LLTokenizer(path, n_vocab=int(vocab_size), eos_token=eos_token_ids)
    writer = ReplyWriter(sys.stdout.fileno())
    server = MaskServer(
        GrammarCache(tokenizer, _MAX_GRAMMARS),
        writer,
        vocab_size=int(vocab_size),
        eos_token_ids=eos_token_ids,
        max_open_s=float(max_open_s),
        max_advance_s=float(max_advance_s),
    )
    server.start()
    writer.put(Reply(GREETING_KEY, MaskState.READY))
    while (request := read_frame(sys.stdin.buffer)) is not None:
        server.take(request)
    os._exit(0)


if __name__ == "__main__":
    main()
