"""Plays the gateway: looks each prompt up, and where the cache serves nothing, answers and stores as a model would."""

import random
import time
from collections.abc import Callable, Sequence

from penstock.bench.cache.answers import Answers, Truth
from penstock.bench.cache.cache_client import CacheClient, Kept, Looked, Outcome
from penstock.bench.cache.paraphrases import Paraphrase
from penstock.bench.cache.policy import Policy
from penstock.bench.cache.record import ErrorKind, Labelling, LookupRecord
from penstock.bench.cache.settings import Labels

_SERVED = (Outcome.EXACT_HIT, Outcome.SEMANTIC_HIT)


class Replay:
    """One run under a tenant of its own. It knows what each entry that it stored is an answer to.

    Args:
        client: of the cache service.
        tenant: nobody else's.
        policy: sent with each lookup.
        answers: what is right.
        labels: how explorations are labelled.
        label_noise: share of explorations that are told to be what they are not.
        seed: decides which.
        clock: seconds, for latencies.

    Attributes:
        records: of the requests so far.
    """

    def __init__(
        self,
        client: CacheClient,
        *,
        tenant: str,
        policy: Policy,
        answers: Answers,
        labels: Labels,
        label_noise: float,
        seed: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._client = client
        self._tenant = tenant
        self._policy = policy
        self._answers = answers
        self._labels = labels
        self._label_noise = label_noise
        self._noise = random.Random(f"{seed}/noise")  # noqa: S311 - a plan, not a secret
        self._clock = clock
        self._entries: dict[str, tuple[Paraphrase, Truth]] = {}
        self._answered: set[Truth] = set()
        self.records: list[LookupRecord] = []

    def run(self, traffic: Sequence[Paraphrase], on_progress: Callable[[], None]) -> None:
        """Asks one prompt after the other, as the order decides what is stored; `on_progress` is told after each.

        Raises:
            PenstockError: a call failed.
        """
        for index, prompt in enumerate(traffic):
            self.records.append(self._ask(prompt, index))
            on_progress()

    def _ask(self, prompt: Paraphrase, index: int) -> LookupRecord:
        truth = self._answers.truth(prompt.class_name, index)
        is_servable = truth in self._answered
        began_s = self._clock()
        looked = self._client.look_up(self._tenant, prompt.text, self._policy)
        latency_s = self._clock() - began_s
        is_served = looked.outcome in _SERVED
        labelling, is_refused = (None, False) if is_served else self._answer(prompt, truth, index, looked)
        return LookupRecord(
            outcome=looked.outcome,
            latency_s=latency_s,
            error=self._error(prompt, truth, looked.entry_id) if is_served else None,
            is_servable=is_servable,
            has_changed=self._answers.has_changed(prompt.class_name, index),
            labelling=labelling,
            is_refused=is_refused,
            reason=looked.reason,
        )

    def _answer(self, prompt: Paraphrase, truth: Truth, index: int, looked: Looked) -> tuple[Labelling | None, bool]:
        """Stores what a model answers; what its exploration was taken to show, and whether the answer was refused."""
        is_explored = bool(looked.exploration_token)
        is_right = is_explored and self._error(prompt, truth, looked.entry_id) is None
        kept = self._client.put(
            self._tenant,
            prompt.text,
            self._answers.tell(prompt.class_name, index),
            exploration_token=looked.exploration_token,
            is_equivalent=self._label(is_right=is_right) if is_explored else None,
        )
        self._remember(kept, prompt, truth)
        return Labelling(is_right, kept.is_equivalent) if is_explored else None, not kept.entry_id

    def _remember(self, kept: Kept, prompt: Paraphrase, truth: Truth) -> None:
        if kept.entry_id:
            self._entries[kept.entry_id] = (prompt, truth)
            self._answered.add(truth)

    def _label(self, *, is_right: bool) -> bool | None:
        """What the service is told; None: nothing, it compares the answers."""
        if self._noise.random() < self._label_noise:
            return not is_right
        return is_right if self._labels is Labels.CLASS else None

    def _error(self, prompt: Paraphrase, truth: Truth, entry_id: str) -> ErrorKind | None:
        """What is wrong with an entry as an answer to a prompt."""
        if entry_id not in self._entries:
            return ErrorKind.FOREIGN
        stored, stored_truth = self._entries[entry_id]
        if stored_truth == truth:
            return None
        if stored_truth.class_name == truth.class_name:
            return ErrorKind.STALE
        if stored.family == prompt.family:
            return ErrorKind.FAMILY
        return ErrorKind.DOMAIN if stored.domain == prompt.domain else ErrorKind.ACROSS
