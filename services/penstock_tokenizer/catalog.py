"""The models that this service knows: from its settings, and from the fleet's directory as that changes."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock_shared.directory import Directory, ModelSpec
from penstock_shared.errors import FailedPreconditionError, NotFoundError, PenstockError, UnavailableError
from penstock_shared.fingerprint import template_fingerprint, tokenizer_fingerprint
from penstock_shared.logs import get_logger
from penstock_tokenizer.checkpoint import ChatTemplate, read_checkpoint
from penstock_tokenizer.tokenizer import TextTokenizer, make_tokenizer
from penstock_tokenizer.vocabulary import Vocabulary, build_vocabulary

_RETRY_AFTER_S = 0.5


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """Equal fingerprints encode and render equally."""

    tokenizer: str
    template: str


@dataclass(frozen=True, slots=True)
class TextModel:
    """The text side of a served model.

    Attributes:
        template: None where the checkpoint has none.
        vocabulary: the table, or why there is none.
    """

    name: str
    fingerprints: Fingerprints
    tokenizer: TextTokenizer
    template: ChatTemplate | None
    vocabulary: Vocabulary | FailedPreconditionError


def load_model(name: str, directory: Path) -> TextModel:
    """Loads a tokenizer directory; blocks for up to some seconds.

    Raises:
        FailedPreconditionError: the directory holds no tokenizer that can be served.
    """
    checkpoint = read_checkpoint(directory)
    tokenizer = make_tokenizer(checkpoint)
    fingerprints = fingerprints_of(directory)
    return TextModel(name, fingerprints, tokenizer, checkpoint.template, _vocabulary_or_reason(tokenizer))


def fingerprints_of(directory: Path) -> Fingerprints:
    """The fingerprints of a tokenizer directory."""
    return Fingerprints(tokenizer_fingerprint(directory), template_fingerprint(directory))


class Catalog:
    """Models by name.

    Args:
        on_change: awaited after models came or went.
    """

    def __init__(self, on_change: Callable[[], Awaitable[None]]) -> None:
        self._on_change = on_change
        self._fixed: dict[str, TextModel] = {}
        self._from_fleet: dict[str, list[TextModel]] = {}  # of a model that is being updated, both
        self._wanted = Directory()
        self._has_news = asyncio.Event()
        self._log = get_logger("catalog")

    def __repr__(self) -> str:
        return f"Catalog(fixed={sorted(self._fixed)}, from_fleet={sorted(self._from_fleet)})"

    def __len__(self) -> int:
        return len(self._fixed | self._from_fleet)

    def get(self, name: str, *, tokenizer: str = "", template: str = "") -> TextModel:
        """The model of that name and of these fingerprints, where any are given; those of the settings come first.

        Raises:
            NotFoundError: there is none of that name.
            UnavailableError: the fleet has one of other fingerprints, which has not been loaded, or not yet.
        """
        fixed = [self._fixed[name]] if name in self._fixed else []
        known = fixed + self._from_fleet.get(name, [])
        if not known:
            raise NotFoundError("model", name, known=self._fixed.keys() | self._from_fleet.keys())
        for model in known:
            found = model.fingerprints
            if tokenizer in ("", found.tokenizer) and template in ("", found.template):
                return model
        raise UnavailableError(
            f"no tokenizer {tokenizer[:12]} with template {template[:12] or '(any)'} of model {name!r} is loaded",
            retry_after_s=_RETRY_AFTER_S,
        )

    async def load_fixed(self, directories: Mapping[str, Path]) -> None:
        """Loads the models of the settings.

        Raises:
            FailedPreconditionError: one cannot be loaded.
        """
        for name, directory in directories.items():
            self._fixed[name] = await asyncio.to_thread(load_model, name, directory)
        await self._on_change()

    def take_directory(self, directory: Directory) -> None:
        """Notes what the fleet serves now; `follow_fleet` loads it."""
        self._wanted = directory
        self._has_news.set()

    async def follow_fleet(self) -> None:
        """Loads what the directory names, for ever. A model that cannot be loaded leaves its predecessor in place."""
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            for spec in self._wanted.all_revisions:
                await self._follow(spec)
            self._drop_withdrawn()
            await self._on_change()

    async def _follow(self, spec: ModelSpec) -> None:
        known = self._from_fleet.get(spec.name, [])
        if any(model.fingerprints == _stated_by(spec) for model in known):
            return
        try:
            loaded = await asyncio.to_thread(_load_spec, spec)
        except PenstockError as error:
            self._log.error("model cannot be loaded", model=spec.name, reason=error.message)
        else:
            self._from_fleet[spec.name] = [*known, loaded]
            self._log.info("model loaded", model=spec.name, tokenizer=spec.tokenizer_fingerprint[:12])

    def _drop_withdrawn(self) -> None:
        """Forgets what the fleet no longer names; a fleet that names none has just started.

        A model of which nothing that is named could be loaded keeps what it had.
        """
        if not self._wanted.models:
            return
        stated: dict[str, list[Fingerprints]] = {}
        for spec in self._wanted.all_revisions:
            stated.setdefault(spec.name, []).append(_stated_by(spec))
        self._from_fleet = {
            name: _in_order(models, stated[name]) or models
            for name, models in self._from_fleet.items()
            if name in stated
        }


def _in_order(models: Sequence[TextModel], stated: Sequence[Fingerprints]) -> list[TextModel]:
    """Those that are stated, the current one first."""
    return sorted(
        (model for model in models if model.fingerprints in stated),
        key=lambda model: stated.index(model.fingerprints),
    )


def _load_spec(spec: ModelSpec) -> TextModel:
    directory = Path(spec.tokenizer_path)
    found = fingerprints_of(directory)
    if found != _stated_by(spec):
        raise FailedPreconditionError(f"{directory} has {found}, the fleet states {_stated_by(spec)}")
    return load_model(spec.name, directory)


def _stated_by(spec: ModelSpec) -> Fingerprints:
    return Fingerprints(spec.tokenizer_fingerprint, spec.template_fingerprint)


def _vocabulary_or_reason(tokenizer: TextTokenizer) -> Vocabulary | FailedPreconditionError:
    try:
        return build_vocabulary(tokenizer)
    except PenstockError as error:
        return FailedPreconditionError(error.message)
