"""Encoders of Hugging Face, loaded from a directory."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes.encoder_checkpoints import HIDDEN_SIZE, save_encoder_checkpoint
from transformers import AutoModel, AutoTokenizer

from penstock_cache.semantic.encoder import EncodedTokens, UnreadablePromptError
from penstock_cache.semantic.prompts import EncodedPrompt
from penstock_cache.semantic.transformer_encoder import TransformerEncoder
from penstock_shared.errors import FailedPreconditionError


class SpansDetail:
    """Keeps where the tokens lie."""

    fingerprint = "spans-1"

    def detail(self, tokens: EncodedTokens) -> bytes:
        """The text and id of each token, and the shape of their states."""
        words = [tokens.text[begin:end] for begin, end in tokens.spans]
        return f"{words} {tokens.ids.tolist()} {tokens.states.shape}".encode()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder."""
    return save_encoder_checkpoint(tmp_path_factory.mktemp("encoder"))


def encoder(directory: Path, **options: object) -> TransformerEncoder:
    """An encoder of that directory."""
    return TransformerEncoder(directory, **{"max_tokens": 16, "num_threads": 1} | options)  # type: ignore[arg-type]


def vector_of(result: EncodedPrompt | UnreadablePromptError) -> np.ndarray:
    """The vector of a prompt that could be read."""
    assert isinstance(result, EncodedPrompt)
    return result.vector


def test_a_vector_is_the_unit_mean_over_the_prompts_own_tokens_whatever_the_batch(directory: Path) -> None:
    """As sentence-transformers computes it; padding beside a longer prompt must not change what a prompt is near to."""
    texts = ["Paris", "is Paris in France"]
    together = encoder(directory).run(texts)
    for text, result in zip(texts, together, strict=True):
        with torch.inference_mode():
            inputs = AutoTokenizer.from_pretrained(directory)(text, return_tensors="pt")
            mean = AutoModel.from_pretrained(directory).eval()(**inputs).last_hidden_state[0].mean(0).numpy()
        assert vector_of(result) == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)
        assert vector_of(result) == pytest.approx(vector_of(encoder(directory).run([text])[0]), abs=1e-5)
    assert vector_of(together[0]).shape == (HIDDEN_SIZE,)
    assert vector_of(together[0]).dtype == np.float32


def test_an_encoder_of_another_kind_is_run_as_transformers_runs_it(directory: Path, tmp_path: Path) -> None:
    """Only BERT as most have it is computed by our own pass; a vector must be right with any."""
    copy = Path(shutil.copytree(directory, tmp_path / "relu"))
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    with torch.inference_mode():
        inputs = AutoTokenizer.from_pretrained(copy)("Paris", return_tensors="pt")
        mean = AutoModel.from_pretrained(copy).eval()(**inputs).last_hidden_state[0].mean(0).numpy()
    other, usual = (vector_of(encoder(each).run(["Paris", "is Paris in France"])[0]) for each in (copy, directory))
    assert other == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)
    assert np.abs(other - usual).max() > 1e-4


def test_a_prompt_that_is_not_seen_whole_gets_no_vector_and_its_neighbours_do(directory: Path) -> None:
    """Two prompts that differ where the encoder does not look would have the same vector."""
    long, unknown, good = encoder(directory).run(["a " * 15, "paris \N{FLAMINGO}", "a " * 14])
    assert str(long) == "the prompt is longer than the 16 tokens that the encoder reads"
    assert str(unknown) == "the prompt has characters that the encoder does not know"
    assert isinstance(good, EncodedPrompt)


def test_the_verifiers_detail_is_made_in_the_same_pass(directory: Path) -> None:
    """It sees each token of the prompt in its context, and no special ones."""
    (result,) = encoder(directory, detail=SpansDetail()).run(["Paris  ab"])
    assert isinstance(result, EncodedPrompt)
    assert result.detail == b"['Paris', 'a', 'b'] [4, 6, 33] (3, 3, 32)"


def test_other_weights_lengths_and_details_have_other_fingerprints(directory: Path, tmp_path: Path) -> None:
    """Their vectors must never be compared."""
    other = save_encoder_checkpoint(tmp_path / "other", seed=1)
    found = {
        encoder(directory).fingerprint,
        encoder(other).fingerprint,
        encoder(directory, max_tokens=8).fingerprint,
        encoder(directory, detail=SpansDetail()).fingerprint,
    }
    assert len(found) == 4
    assert encoder(directory).fingerprint == encoder(Path(shutil.copytree(directory, tmp_path / "copy"))).fingerprint


def test_weights_that_are_no_safetensors_are_not_loaded(directory: Path, tmp_path: Path) -> None:
    """A pickle runs what it likes."""
    copy = Path(shutil.copytree(directory, tmp_path / "pickle"))
    torch.save(AutoModel.from_pretrained(directory).state_dict(), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    with pytest.raises(FailedPreconditionError, match="no encoder can be loaded from"):
        encoder(copy)


def test_code_beside_the_weights_is_not_run(directory: Path, tmp_path: Path) -> None:
    """A model that asks for it is refused, or is loaded as what its type says."""
    copy = Path(shutil.copytree(directory, tmp_path / "code"))
    config = (copy / "config.json").read_text().replace("{", '{"auto_map": {"AutoModel": "evil.Evil"},', 1)
    (copy / "config.json").write_text(config)
    (copy / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    encoder(copy)
    assert not (tmp_path / "ran").exists()


def test_a_directory_without_a_model_says_so(tmp_path: Path) -> None:
    """The operator sees the path."""
    with pytest.raises(FailedPreconditionError, match=str(tmp_path)):
        encoder(tmp_path)
