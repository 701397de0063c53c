"""Decides what each step computes: continuous batching, chunked prefill, preemption. Synchronous; needs no torch.

A sequence is waiting or running. It gets the blocks of all its tokens when it starts to run, and one more whenever its
output has filled them. Sequences go in the order of `Sequence.priority`. A step has a budget of tokens: first those
that decode take one each, so that a long prompt never holds up the streams; then prefills take the rest, and as many
steps as they need.

When a sequence needs a block and none is free, the running sequence that goes last gives up its blocks and waits to be
computed again. If that is the needy one itself, it keeps what it has and sits the step out. So the first in line always
advances, and with it the whole.

A sequence that starts takes over the blocks that hold its first tokens already. While one that goes before it is about
to compute more of these tokens, it does not start: it will find them. Those behind it may start meanwhile.
"""

from bisect import insort
from collections.abc import Mapping
from operator import attrgetter

from penstock_worker.engine.block_pool import BlockPool
from penstock_worker.engine.plan import Chunk, StepPlan
from penstock_worker.engine.prefix_index import PrefixChange
from penstock_worker.engine.scoring import bounded_chunk, scoring_of
from penstock_worker.engine.sequence import Sequence
from penstock_worker.engine.sequence_blocks import PrefixStats, SequenceBlocks

_priority = attrgetter("priority")


class Scheduler:
    """Owns the waiting and the running sequences and, through them, the blocks.

    Args:
        pool: large enough for the longest sequence that is ever added.
        max_running_sequences: bound of the running set.
        max_step_tokens: token budget of a step.
    """

    def __init__(self, pool: BlockPool, *, max_running_sequences: int, max_step_tokens: int) -> None:
        self._pool = pool
        self._blocks = SequenceBlocks(pool)
        self._max_running_sequences = max_running_sequences
        self._max_step_tokens = max_step_tokens
        self._waiting: list[Sequence] = []  # this and the next in order of priority
        self._running: list[Sequence] = []
        self._num_preemptions = 0

    def __repr__(self) -> str:
        return f"Scheduler({self.num_running} running, {self.num_waiting} waiting, {self._pool!r})"

    @property
    def running(self) -> tuple[Sequence, ...]:
        """The sequences that hold blocks, in order of priority."""
        return tuple(self._running)

    @property
    def num_running(self) -> int:
        """Sequences that hold blocks."""
        return len(self._running)

    @property
    def num_waiting(self) -> int:
        """Sequences that wait for blocks: new ones and preempted ones."""
        return len(self._waiting)

    @property
    def num_free_blocks(self) -> int:
        """Blocks that no sequence holds."""
        return self._pool.num_free

    @property
    def num_preemptions(self) -> int:
        """How often a sequence lost what was computed of it."""
        return self._num_preemptions

    def add(self, sequence: Sequence) -> None:
        """Queues a new sequence."""
        insort(self._waiting, sequence, key=_priority)

    def remove(self, sequence: Sequence, *, is_spoilt: bool = False) -> None:
        """Takes out a sequence that has ended and frees its blocks; where they are spoilt, for nobody to find."""
        if sequence in self._running:
            self._running.remove(sequence)
            self._blocks.release(sequence, is_spoilt=is_spoilt)
        else:
            self._waiting.remove(sequence)

    def schedule(self, now_ns: int) -> StepPlan:
        """Chooses the next step's work and counts it as computed.

        Args:
            now_ns: stamps those whose prefill starts here.
        """
        fresh_block_ids = self._admit()
        chunks = [_next_chunk(sequence, 1, now_ns) for sequence in self._decoding(fresh_block_ids)]
        chunks += self._prefill_chunks(self._max_step_tokens - len(chunks), now_ns)
        return StepPlan(chunks, fresh_block_ids)

    def lend(self, sequence: Sequence, num_tokens: int) -> tuple[int, list[int]]:
        """Blocks for as many as `num_tokens` drafted tokens behind those of a running sequence.

        Returns:
            How many tokens the free blocks were enough for, and the fresh blocks. Nobody is preempted for a draft.
        """
        num_slots = (len(sequence.block_ids) + self._pool.num_free) * self._pool.block_size
        num_tokens = min(num_tokens, num_slots - len(sequence.token_ids))
        return num_tokens, self._blocks.grow(sequence, len(sequence.token_ids) + num_tokens)

    def take_back(self, sequence: Sequence, num_tokens: int) -> None:
        """Frees the blocks that a running sequence does not need for `num_tokens` tokens."""
        self._blocks.shrink(sequence, num_tokens)

    def keep_computed(self, sequence: Sequence) -> None:
        """Has what was computed of a running sequence found by others. For after a step that has succeeded."""
        self._blocks.keep_computed(sequence)

    def prefix_stats(self) -> PrefixStats:
        """What was looked for and found, and what is there to be found."""
        return self._blocks.stats()

    def take_prefix_changes(self) -> list[PrefixChange]:
        """What can be found or can no more since the last call."""
        return self._blocks.take_changes()

    def check_invariants(self) -> None:
        """Raises AssertionError where the books do not agree."""
        self._pool.check_invariants([list(sequence.block_ids) for sequence in self._running])
        for queue in (self._running, self._waiting):
            if queue != sorted(queue, key=_priority):
                raise AssertionError("a queue is out of order")
        if any(sequence.block_ids or sequence.num_computed_tokens for sequence in self._waiting):
            raise AssertionError("a waiting sequence holds blocks")
        if len(self._running) > self._max_running_sequences:
            raise AssertionError(f"{len(self._running)} sequences run")

    def _admit(self) -> list[int]:
        """Starts waiting sequences that there are tokens, a place and blocks for; returns the fresh blocks they got."""
        fresh_block_ids: list[int] = []
        upcoming = self._upcoming_blocks() if self._waiting else {}
        position = 0
        while position < len(self._waiting):
            sequence = self._waiting[position]
            found = self._blocks.find(sequence)
            if self._will_find_more(sequence, found, upcoming):
                position += 1
                continue
            if not self._make_room(sequence, found):
                break
            self._waiting.pop(position)  # those that had to make room wait behind it
            fresh_block_ids += self._blocks.start(sequence, found)
            insort(self._running, sequence, key=_priority)
            self._add_upcoming_blocks(sequence, upcoming)
        return fresh_block_ids

    def _upcoming_blocks(self) -> dict[bytes, tuple[int, int]]:
        """The blocks that prefills are about to compute, by name, with the priority of the first to do so."""
        upcoming: dict[bytes, tuple[int, int]] = {}
        for sequence in self._running:
            if sequence.num_uncomputed_tokens > 1:
                self._add_upcoming_blocks(sequence, upcoming)
        return upcoming

    def _add_upcoming_blocks(self, sequence: Sequence, upcoming: dict[bytes, tuple[int, int]]) -> None:
        first = sequence.num_computed_tokens // self._pool.block_size
        for block in self._blocks.names(sequence)[first:]:
            upcoming[block.hash] = min(upcoming.get(block.hash, sequence.priority), sequence.priority)

    def _will_find_more(self, sequence: Sequence, found: list[int], upcoming: Mapping[bytes, tuple[int, int]]) -> bool:
        """Whether one that goes before it is about to compute the next of its blocks."""
        if not upcoming or (len(found) + 1) * self._pool.block_size > sequence.num_findable_tokens:
            return False
        priority = upcoming.get(self._blocks.names(sequence)[len(found)].hash)
        return priority is not None and priority < sequence.priority

    def _make_room(self, sequence: Sequence, found: list[int]) -> bool:
        """Whether `sequence` can start now, if need be at the cost of less critical ones."""
        if not self._has_budget_for(sequence):
            return False
        if self._has_room_for(sequence, found):
            return True
        victims = [other for other in self._running if other.request.criticality < sequence.request.criticality]
        released = [block_id for victim in victims for block_id in victim.block_ids]
        num_needed = self._num_blocks_to_start(sequence, found) - len(victims)
        if not victims or self._pool.num_spare(found, released) < num_needed:
            return False
        while not self._has_room_for(sequence, found):
            self._preempt(victims.pop())
        return True

    def _has_budget_for(self, sequence: Sequence) -> bool:
        """Whether those that go before it leave a token of the step. Started earlier, it would hold blocks in vain."""
        priority = sequence.priority
        claims = [other.num_uncomputed_tokens for other in self._running if other.priority < priority]
        return sum(claims) < self._max_step_tokens

    def _has_room_for(self, sequence: Sequence, found: list[int]) -> bool:
        has_place = len(self._running) < self._max_running_sequences
        return has_place and self._pool.num_spare(found) >= self._num_blocks_to_start(sequence, found)

    def _num_blocks_to_start(self, sequence: Sequence, found: list[int]) -> int:
        """The blocks that it lacks and one for each that runs: else the next steps' growth would undo the start."""
        num_missing = self._pool.num_blocks_for(len(sequence.token_ids) + 1) - len(found)
        return num_missing + len(self._running)

    def _decoding(self, fresh_block_ids: list[int]) -> list[Sequence]:
        """The sequences that take one token in this step. Adds the blocks that they got to `fresh_block_ids`."""
        decoding: list[Sequence] = []
        position = 0
        # Past the budget nobody is looked at: so there is a token left for a prefill that goes before them.
        while position < min(len(self._running), self._max_step_tokens):
            sequence = self._running[position]  # a preemption takes from the end, never up to here
            if sequence.num_uncomputed_tokens == 1 and self._secure_block(sequence, fresh_block_ids):
                decoding.append(sequence)
            position += 1
        return decoding

    def _secure_block(self, sequence: Sequence, fresh_block_ids: list[int]) -> bool:
        """Sees to a block for the last token, where need be taken from those that go last."""
        num_tokens = len(sequence.token_ids)
        if num_tokens <= len(sequence.block_ids) * self._pool.block_size:
            return True
        while not self._pool.num_free:
            if self._running[-1] is sequence:
                return False
            self._preempt(self._running[-1])
        fresh_block_ids += self._blocks.grow(sequence, num_tokens)
        return True

    def _prefill_chunks(self, num_left: int, now_ns: int) -> list[Chunk]:
        """Shares `num_left` tokens among the sequences with more than one to compute."""
        chunks: list[Chunk] = []
        for sequence in self._running:
            if num_left and sequence.num_uncomputed_tokens > 1:
                num_tokens = min(sequence.num_uncomputed_tokens, num_left)
                chunk = _next_chunk(sequence, bounded_chunk(sequence, num_tokens), now_ns)
                num_left -= len(chunk.token_ids)
                chunks.append(chunk)
        return chunks

    def _preempt(self, sequence: Sequence) -> None:
        """Takes its blocks and queues it again: what is not found of its keys and values will be computed anew."""
        self._running.remove(sequence)
        if sequence.num_computed_tokens > sequence.num_found_tokens:
            sequence.num_preemptions += 1
            self._num_preemptions += 1
        self._blocks.release(sequence)
        self.add(sequence)


def _next_chunk(sequence: Sequence, num_tokens: int, now_ns: int) -> Chunk:
    """The next `num_tokens` tokens of `sequence`, counted as computed from here on."""
    start = sequence.num_computed_tokens
    end = start + num_tokens
    if sequence.prefill_start_ns is None:
        sequence.prefill_start_ns = now_ns
    sequence.num_computed_tokens = end
    token_ids = sequence.token_ids[start:end]
    if (embedding := sequence.request.embedding) is not None:
        pooling, adapter_id = embedding.pooling, sequence.adapter_id
        return Chunk(sequence.key, token_ids, start, sequence.block_ids[:], 0, pooling=pooling, adapter_id=adapter_id)
    num_logits_rows = 1 if end == len(sequence.token_ids) else 0
    scoring = scoring_of(sequence, start, end)
    block_ids = sequence.block_ids[:]
    return Chunk(sequence.key, token_ids, start, block_ids, num_logits_rows, scoring, adapter_id=sequence.adapter_id)
