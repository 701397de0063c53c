"""The models that requests can name, as the directory states them, and the requests that were accepted for each.

While a model is updated it has two revisions. A request is for one of them from its first look at the model to its end;
which one is drawn, so that each gets its share of the ready replicas.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from penstock_shared.directory import Directory, ModelSpec, ReplicaState, RevisionKey
from penstock_shared.errors import InvalidArgumentError, NotFoundError


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model and when this gateway first saw it (seconds since the epoch)."""

    spec: ModelSpec
    first_seen_s: float


class ModelCatalog:
    """Follows the directory's models.

    Args:
        wall_clock: seconds since the epoch.
        is_prepared: whether requests for a revision can be tokenized; others get none while there is a choice.
        draw: a number in [0, 1).
    """

    def __init__(
        self,
        wall_clock: Callable[[], float],
        *,
        is_prepared: Callable[[ModelSpec], bool] = lambda _: True,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._wall_clock = wall_clock
        self._is_prepared = is_prepared
        self._draw = draw
        self._served: dict[str, ServedModel] = {}
        self._directory = Directory()
        self._num_ready: Counter[RevisionKey] = Counter()
        self._num_requests: Counter[RevisionKey] = Counter()

    def __repr__(self) -> str:
        return f"ModelCatalog({', '.join(sorted(self._served))})"

    def update(self, directory: Directory) -> None:
        """Takes over the models of a new directory."""
        now_s = self._wall_clock()
        known = self._served
        self._directory = directory
        self._num_ready = Counter(
            (replica.model, replica.revision) for replica in directory.replicas if replica.state is ReplicaState.READY
        )
        self._served = {
            spec.name: ServedModel(spec, known[spec.name].first_seen_s if spec.name in known else now_s)
            for spec in directory.models
        }

    def served(self) -> list[ServedModel]:
        """All models, by name."""
        return [self._served[name] for name in sorted(self._served)]

    @property
    def revisions(self) -> Sequence[ModelSpec]:
        """All revisions of all models."""
        return self._directory.all_revisions

    @property
    def directory_version(self) -> int:
        """Of the directory that requests go by."""
        return self._directory.version

    @property
    def asleep(self) -> Sequence[str]:
        """Models without a replica that a request brings up."""
        return self._directory.asleep

    @property
    def num_requests(self) -> Mapping[RevisionKey, int]:
        """Requests under way for each revision."""
        return self._num_requests

    @contextmanager
    def using(self, spec: ModelSpec) -> Iterator[None]:
        """A request is under way for a revision while the block runs; entered before any await after `resolve`."""
        self._num_requests[spec.key] += 1
        try:
            yield
        finally:
            self._num_requests[spec.key] -= 1
            if not self._num_requests[spec.key]:
                del self._num_requests[spec.key]

    def resolve(self, name: str, *, field: str) -> ModelSpec:
        """The model of that name; the only one where `name` is empty. Of several revisions one that serves is drawn.

        Raises:
            InvalidArgumentError: the name is empty and several models, or none, are served.
            NotFoundError: no such model.
        """
        if not name:
            name = self._only_model(field)
        found = self._served.get(name)
        if found is None:
            raise NotFoundError("model", name, self._served, field=field)
        return self._drawn(found.spec)

    def _drawn(self, current: ModelSpec) -> ModelSpec:
        others = [
            other.spec
            for other in self._directory.other_revisions
            if other.takes_new_requests and other.spec.name == current.name and self._is_prepared(other.spec)
        ]
        candidates = [current, *others] if others else []
        point = self._draw() * sum(self._num_ready[spec.key] for spec in candidates) if candidates else 0.0
        for spec in candidates:
            point -= self._num_ready[spec.key]
            if point < 0:
                return spec
        return current

    def _only_model(self, field: str) -> str:
        if len(self._served) != 1:
            names = ", ".join(sorted(self._served)) or "no model is known yet"
            raise InvalidArgumentError(field, "", f"a served model ({names})")
        return next(iter(self._served))
