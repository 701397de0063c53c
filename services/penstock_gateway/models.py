"""The models that requests can name, as the directory states them."""

from collections.abc import Callable
from dataclasses import dataclass

from penstock_shared.directory import Directory, ModelSpec
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
    """

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self._served: dict[str, ServedModel] = {}

    def __repr__(self) -> str:
        return f"ModelCatalog({', '.join(sorted(self._served))})"

    def update(self, directory: Directory) -> None:
        """Takes over the models of a new directory."""
        now_s = self._wall_clock()
        known = self._served
        self._served = {
            spec.name: ServedModel(spec, known[spec.name].first_seen_s if spec.name in known else now_s)
            for spec in directory.models
        }

    def served(self) -> list[ServedModel]:
        """All models, by name."""
        return [self._served[name] for name in sorted(self._served)]

    def resolve(self, name: str, *, field: str) -> ModelSpec:
        """The model of that name; the only one where `name` is empty.

        Raises:
            InvalidArgumentError: the name is empty and several models, or none, are served.
            NotFoundError: no such model.
        """
        if not name:
            return self._only_model(field)
        found = self._served.get(name)
        if found is None:
            raise NotFoundError("model", name, self._served, field=field)
        return found.spec

    def _only_model(self, field: str) -> ModelSpec:
        if len(self._served) != 1:
            names = ", ".join(sorted(self._served)) or "no model is known yet"
            raise InvalidArgumentError(field, "", f"a served model ({names})")
        return next(iter(self._served.values())).spec
