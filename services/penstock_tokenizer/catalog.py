"""The models that this service knows: from its settings, and from the fleet's directory as that changes."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from penstock_shared.directory import Directory, ModelSpec
from penstock_shared.errors import FailedPreconditionError, NotFoundError, PenstockError
from penstock_shared.fingerprint import template_fingerprint, tokenizer_fingerprint
from penstock_shared.logs import get_logger
from penstock_tokenizer.checkpoint import ChatTemplate, read_checkpoint
from penstock_tokenizer.tokenizer import TextTokenizer, make_tokenizer
from penstock_tokenizer.vocabulary import Vocabulary, build_vocabulary


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
        self._from_fleet: dict[str, TextModel] = {}
        self._wanted = Directory()
        self._has_news = asyncio.Event()
        self._log = get_logger("catalog")

    def __repr__(self) -> str:
        return f"Catalog(fixed={sorted(self._fixed)}, from_fleet={sorted(self._from_fleet)})"

    def __len__(self) -> int:
        return len(self._fixed | self._from_fleet)

    def get(self, name: str) -> TextModel:
        """The model of that name; those of the settings come first.

        Raises:
            NotFoundError: there is none.
        """
        model = self._fixed.get(name) or self._from_fleet.get(name)
        if model is None:
            raise NotFoundError("model", name, known=self._fixed.keys() | self._from_fleet.keys())
        return model

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
            for spec in self._wanted.models:
                await self._follow(spec)
            self._drop_withdrawn()
            await self._on_change()

    async def _follow(self, spec: ModelSpec) -> None:
        current = self._from_fleet.get(spec.name)
        if current is not None and current.fingerprints == _stated_by(spec):
            return
        try:
            self._from_fleet[spec.name] = await asyncio.to_thread(_load_spec, spec)
        except PenstockError as error:
            self._log.error("model cannot be loaded", model=spec.name, reason=error.message)
        else:
            self._log.info("model loaded", model=spec.name, tokenizer=spec.tokenizer_fingerprint[:12])

    def _drop_withdrawn(self) -> None:
        """Forgets models that the fleet no longer names; a fleet that names none has just started."""
        names = {spec.name for spec in self._wanted.models}
        if names:
            self._from_fleet = {name: model for name, model in self._from_fleet.items() if name in names}


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
