"""Which models are served, as settings and fleet say."""

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fakes.tokenizer_dirs import byte_level_bpe, unigram_with_byte_fallback, write_tokenizer_dir

from penstock_shared.directory import Directory, ModelSpec, OtherRevision, SamplingDefaults
from penstock_shared.errors import FailedPreconditionError, NotFoundError, UnavailableError
from penstock_tokenizer.catalog import Catalog, fingerprints_of, load_model
from penstock_tokenizer.vocabulary import Vocabulary


def spec_of(name: str, directory: Path) -> ModelSpec:
    """What a fleet states of a checkpoint."""
    fingerprints = fingerprints_of(directory)
    return ModelSpec(
        name=name,
        revision="r1",
        tokenizer_fingerprint=fingerprints.tokenizer,
        template_fingerprint=fingerprints.template,
        context_length=128,
        eos_token_ids=(1,),
        sampling_defaults=SamplingDefaults(),
        vocab_size=400,
        tokenizer_path=str(directory),
    )


class Following:
    """A catalog that follows a fleet, and a way to wait until it has taken a directory in."""

    def __init__(self) -> None:
        self._rounds: asyncio.Queue[None] = asyncio.Queue()
        self.catalog = Catalog(lambda: self._rounds.put(None))
        self._version = 0

    async def give(self, *models: ModelSpec, others: Sequence[ModelSpec] = ()) -> None:
        """Hands over a directory and waits until it is loaded."""
        self._version += 1
        other_revisions = tuple(OtherRevision(spec, takes_new_requests=True) for spec in others)
        directory = Directory(version=self._version, models=models, other_revisions=other_revisions)
        self.catalog.take_directory(directory)
        await self._rounds.get()


@asynccontextmanager
async def following() -> AsyncIterator[Following]:
    """A catalog that follows as long as the context lasts."""
    found = Following()
    task = asyncio.create_task(found.catalog.follow_fleet())
    yield found
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_models_of_the_settings_are_loaded(tmp_path: Path) -> None:
    """The service must work without any fleet."""
    directory = write_tokenizer_dir(tmp_path, byte_level_bpe(), template="x")
    found = Following()
    await found.catalog.load_fixed({"pocket": directory})
    model = found.catalog.get("pocket")
    assert (model.name, model.fingerprints) == ("pocket", fingerprints_of(directory))
    assert isinstance(model.vocabulary, Vocabulary)


async def test_a_bad_directory_in_the_settings_ends_the_start(tmp_path: Path) -> None:
    """An operator's mistake must not show only when the first request comes."""
    with pytest.raises(FailedPreconditionError, match=r"no tokenizer\.json"):
        await Following().catalog.load_fixed({"pocket": tmp_path})


async def test_an_unknown_model_is_named_with_those_there_are(tmp_path: Path) -> None:
    """Most often it is a typing error."""
    found = Following()
    await found.catalog.load_fixed({"pocket": write_tokenizer_dir(tmp_path, byte_level_bpe())})
    with pytest.raises(NotFoundError, match="no model 'poket'; there is: pocket"):
        found.catalog.get("poket")


async def test_models_of_the_fleet_come_and_go_with_its_directory(tmp_path: Path) -> None:
    """The fleet decides what is served."""
    one, two = (spec_of(name, write_tokenizer_dir(tmp_path / name, byte_level_bpe())) for name in ("one", "two"))
    async with following() as found:
        await found.give(one)
        assert len(found.catalog) == 1
        await found.give(one, two)
        assert found.catalog.get("two").name == "two"
        await found.give(two)
        with pytest.raises(NotFoundError):
            found.catalog.get("one")


async def test_a_fleet_that_has_just_started_takes_no_model_away(tmp_path: Path) -> None:
    """It names its models only when the first replica has read them; requests go on meanwhile."""
    spec = spec_of("one", write_tokenizer_dir(tmp_path, byte_level_bpe()))
    async with following() as found:
        await found.give(spec)
        await found.give()
        assert found.catalog.get("one").name == "one"


async def test_other_files_than_the_fleet_states_are_not_served(tmp_path: Path) -> None:
    """Ids of another tokenizer would be nonsense to the model; the last good one stays."""
    directory = write_tokenizer_dir(tmp_path, byte_level_bpe())
    spec = spec_of("one", directory)
    async with following() as found:
        await found.give(dataclasses.replace(spec, tokenizer_fingerprint="other"))
        assert len(found.catalog) == 0
        await found.give(spec)
        await found.give(dataclasses.replace(spec, template_fingerprint="other"))
        assert found.catalog.get("one").fingerprints == fingerprints_of(directory)


async def test_a_model_is_loaded_again_only_when_its_files_change(tmp_path: Path) -> None:
    """The directory changes with every replica's state; loading takes a second of CPU."""
    directory = write_tokenizer_dir(tmp_path, byte_level_bpe())
    async with following() as found:
        await found.give(spec_of("one", directory))
        first = found.catalog.get("one")
        await found.give(spec_of("one", directory))
        assert found.catalog.get("one") is first
        await found.give(spec_of("one", write_tokenizer_dir(directory, unigram_with_byte_fallback())))
        assert found.catalog.get("one").fingerprints != first.fingerprints


async def test_models_of_the_settings_go_before_the_fleets(tmp_path: Path) -> None:
    """The operator of this service has the last word."""
    fixed = write_tokenizer_dir(tmp_path / "fixed", unigram_with_byte_fallback())
    fleets = write_tokenizer_dir(tmp_path / "fleet", byte_level_bpe())
    async with following() as found:
        await found.catalog.load_fixed({"one": fixed})
        await found.give(spec_of("one", fleets))
        assert found.catalog.get("one").fingerprints == fingerprints_of(fixed)


async def test_both_revisions_of_a_model_are_there_while_it_is_updated(tmp_path: Path) -> None:
    """A request is encoded by the one that it is for; one that is not loaded yet is worth another try."""
    old = spec_of("one", write_tokenizer_dir(tmp_path / "old", byte_level_bpe()))
    new = spec_of("one", write_tokenizer_dir(tmp_path / "new", unigram_with_byte_fallback(), template="x"))
    async with following() as found:
        await found.give(old)
        with pytest.raises(UnavailableError, match="of model 'one' is loaded"):
            found.catalog.get("one", tokenizer=new.tokenizer_fingerprint)
        await found.give(old, others=[new])
        for spec in (old, new):
            model = found.catalog.get("one", tokenizer=spec.tokenizer_fingerprint, template=spec.template_fingerprint)
            assert model.fingerprints.tokenizer == spec.tokenizer_fingerprint
        assert found.catalog.get("one").fingerprints.tokenizer == old.tokenizer_fingerprint
        await found.give(new, others=[old])
        assert found.catalog.get("one").fingerprints.tokenizer == new.tokenizer_fingerprint
        await found.give(new)
        with pytest.raises(UnavailableError):
            found.catalog.get("one", tokenizer=old.tokenizer_fingerprint)


def test_a_tokenizer_without_a_table_is_served_with_the_reason(tmp_path: Path) -> None:
    """Encoding works all the same; only the caller of GetVocabulary hears of it."""
    directory = write_tokenizer_dir(tmp_path, byte_level_bpe())
    document = json.loads((directory / "tokenizer.json").read_text()) | {"decoder": None}
    (directory / "tokenizer.json").write_text(json.dumps(document))
    reason = load_model("one", directory).vocabulary
    assert isinstance(reason, FailedPreconditionError)
    assert "use Detokenize" in reason.message
