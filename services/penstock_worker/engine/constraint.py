"""Holds back the logits of constrained sequences until their masks are there, and applies the masks.

The mask of the next token depends on the token before only. So it is computed elsewhere while the model runs, and is
mostly there when the logits are. Where it is not, the step goes on without that sequence: its row of logits is put
aside, and sampled in the step in which the mask has come. Until then the sequence has no token to compute, and the
scheduler passes it over. So nobody waits for a slow mask but its own sequence.
"""

import time
from collections.abc import Callable
from collections.abc import Sequence as ReadOnlyList
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from penstock_shared.constraint import Constraint
from penstock_shared.errors import PenstockError
from penstock_worker.constraints.wire import MaskState
from penstock_worker.engine.sequence import Sequence

# How long a step waits for masks, as a share of what the model took, and in seconds.
_WAIT_SHARE = 0.5
_MIN_WAIT_S = 0.001
_MAX_WAIT_S = 0.02
# How long it waits where there is nothing else to do.
_IDLE_WAIT_S = 0.02


class MaskSource(Protocol):
    """Computes masks; `constraints.masks.ConstraintMasks`."""

    def open(self, key: int, constraint: Constraint, output_token_ids: list[int]) -> None:
        """A sequence begins, or is resumed after some output."""

    def advance(self, key: int, token_ids: list[int], drafted: ReadOnlyList[int] = ()) -> None:
        """Tokens were chosen; the masks that follow are wanted."""

    def close(self, key: int) -> None:
        """A sequence is over."""

    def state(self, key: int) -> MaskState:
        """How far a sequence's next mask is."""

    def masks(self, key: int) -> bytes:
        """The next token's mask and those along the draft, while READY."""

    def failure(self, key: int) -> PenstockError | None:
        """What is wrong, where it is FAILED."""

    def poll(self, timeout_s: float) -> None:
        """Sends what is wanted, and takes in what has arrived; waits where that is nothing."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A constrained sequence that does not go on: its grammar is complete, or `error`."""

    sequence: Sequence
    error: PenstockError | None = None


@dataclass(frozen=True, slots=True)
class Admitted:
    """What can be sampled in a step.

    Attributes:
        logits: float32 [len(sequences), vocab_size]; of constrained ones, -inf where a token is not allowed.
        sequences: whose rows they are.
        verdicts: those that end instead.
    """

    logits: torch.Tensor | None
    sequences: list[Sequence]
    verdicts: list[Verdict]


class ConstraintGate:
    """What lies between the model's logits and the sampler.

    Args:
        source: computes masks.
        vocab_size: of the logits.
        eos_token_ids: the model's end-of-sequence tokens.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        source: MaskSource,
        *,
        vocab_size: int,
        eos_token_ids: frozenset[int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._vocab_size = vocab_size
        self._eos_token_ids = eos_token_ids
        self._clock = clock
        self._began_s = clock()
        self._open: dict[int, Sequence] = {}
        self._held: dict[int, torch.Tensor] = {}  # rows of logits, by key

    @property
    def num_held(self) -> int:
        """Sequences whose logits wait for their mask."""
        return len(self._held)

    def begin_step(self) -> None:
        """The model begins; how long it takes bounds how long its step may wait for masks."""
        self._began_s = self._clock()
        if self._open:
            self._source.poll(0.0)  # what is wanted leaves now, to be computed meanwhile

    def open(self, sequence: Sequence) -> None:
        """A sequence is added to the engine."""
        if sequence.request.constraint is not None:
            self._open[sequence.key] = sequence
            output = list(sequence.request.output_token_ids)
            self._source.open(sequence.key, sequence.request.constraint, output)

    def advance(self, sequence: Sequence, token_id: int) -> None:
        """A token was chosen, and the sequence goes on."""
        if sequence.key in self._open:
            self._source.advance(sequence.key, [token_id])

    def close(self, sequence: Sequence) -> None:
        """A sequence has left the engine."""
        if self._open.pop(sequence.key, None) is not None:
            self._held.pop(sequence.key, None)
            self._source.close(sequence.key)

    @torch.inference_mode()
    def admit(self, logits: torch.Tensor | None, sequences: list[Sequence]) -> Admitted:
        """What of a step's logits, and of those held back before, can be sampled now.

        Args:
            logits: float32 [len(sequences), vocab_size]; None where the model did not run.
            sequences: whose rows they are.
        """
        if not self._open:
            return Admitted(logits, sequences, [])
        self._drop_stale(sequences)
        waiting = [sequence.key for sequence in sequences if sequence.key in self._open] + list(self._held)
        self._wait(waiting, is_idle=logits is None)
        rows = self._ready_rows(logits, sequences)
        verdicts = [self._verdict(sequence) for sequence in self._open.values() if self._is_over(sequence.key)]
        if not rows:
            return Admitted(None, [], verdicts)
        self._mask([(row, sequence) for sequence, row in rows if sequence.key in self._open])
        admitted = [sequence for sequence, _ in rows]
        is_whole = admitted == sequences and logits is not None  # the rows are views of it
        return Admitted(logits if is_whole else torch.stack([row for _, row in rows]), admitted, verdicts)

    def _drop_stale(self, sequences: list[Sequence]) -> None:
        """Rows of those that were preempted meanwhile; they come again, or are there anew."""
        fresh = {sequence.key for sequence in sequences}
        stale = [key for key in self._held if key in fresh or self._open[key].num_uncomputed_tokens]
        for key in stale:
            del self._held[key]

    def _wait(self, keys: list[int], *, is_idle: bool) -> None:
        """Gives masks a moment, so that a step has all of its rows; with nothing else to do, a longer one."""
        now_s = self._clock()
        ends_s = now_s + min(max((now_s - self._began_s) * _WAIT_SHARE, _MIN_WAIT_S), _MAX_WAIT_S)
        self._source.poll(0.0)
        while (left_s := ends_s - self._clock()) > 0 and self._num_pending(keys):
            self._source.poll(left_s)
        if is_idle and self._num_pending(keys) == len(keys):
            self._source.poll(_IDLE_WAIT_S)

    def _num_pending(self, keys: list[int]) -> int:
        return sum(self._source.state(key) is MaskState.PENDING for key in keys)

    def _ready_rows(
        self, logits: torch.Tensor | None, sequences: list[Sequence]
    ) -> list[tuple[Sequence, torch.Tensor]]:
        """Rows to sample. Those of this step whose mask is not there are held back."""
        freed = [key for key in self._held if self._source.state(key) is MaskState.READY]
        rows = [(self._open[key], self._held.pop(key)) for key in freed]
        for sequence, row in zip(sequences, () if logits is None else logits.unbind(0), strict=True):
            if sequence.key not in self._open or self._source.state(sequence.key) is MaskState.READY:
                rows.append((sequence, row))
            elif self._source.state(sequence.key) is MaskState.PENDING:
                self._held[sequence.key] = row.clone()
        return rows

    def _is_over(self, key: int) -> bool:
        return self._source.state(key) in (MaskState.COMPLETE, MaskState.FAILED)

    def _verdict(self, sequence: Sequence) -> Verdict:
        return Verdict(sequence, self._source.failure(sequence.key))

    def _mask(self, rows: list[tuple[torch.Tensor, Sequence]]) -> None:
        """Sets the logits of tokens that are not allowed to -inf. Later edits leave them there: it is absorbing."""
        if not rows:
            return
        allowed = np.zeros((len(rows), self._vocab_size), np.bool_)
        for index, (_, sequence) in enumerate(rows):
            self._fill(allowed[index], sequence)
        forbidden = torch.from_numpy(~allowed).to(rows[0][0].device)
        for (row, _), places in zip(rows, forbidden.unbind(0), strict=True):
            row.masked_fill_(places, float("-inf"))

    def _fill(self, allowed: np.ndarray, sequence: Sequence) -> None:
        """Writes the tokens that a sequence may take next.

        Tokens that would end it too early are left out, unless the grammar leaves nothing else.
        """
        masks = np.frombuffer(self._source.masks(sequence.key), np.uint8)
        allowed[:] = np.unpackbits(masks, bitorder="little", count=self._vocab_size)
        vetoed = self._vetoed(sequence)
        if vetoed:
            without = allowed.copy()
            without[vetoed] = False
            if without.any():
                allowed[:] = without

    def _vetoed(self, sequence: Sequence) -> list[int]:
        sampling = sequence.request.sampling
        vetoed = set(self._eos_token_ids) if sampling.ignore_eos else set()
        if sequence.num_output_tokens < sampling.min_tokens:
            vetoed |= sequence.ending_token_ids
        return list(vetoed)
