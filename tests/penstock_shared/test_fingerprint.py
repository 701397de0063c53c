"""Fingerprints tell whether two parts encode alike."""

import json
from pathlib import Path

from penstock_shared.fingerprint import template_fingerprint, tokenizer_fingerprint


def _write(directory: Path, vocab: str = "{}", template: str | None = "a") -> Path:
    directory.mkdir()
    (directory / "tokenizer.json").write_text(vocab)
    config = {"model_max_length": 10} | ({} if template is None else {"chat_template": template})
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    return directory


def test_equal_files_have_equal_fingerprints_wherever_they_lie(tmp_path: Path) -> None:
    """Services see one checkpoint under different paths."""
    first, second = _write(tmp_path / "a"), _write(tmp_path / "b")
    assert tokenizer_fingerprint(first) == tokenizer_fingerprint(second)
    assert template_fingerprint(first) == template_fingerprint(second)


def test_another_vocabulary_changes_the_tokenizers_only(tmp_path: Path) -> None:
    """Else prefix hits silently vanish."""
    first, second = _write(tmp_path / "a"), _write(tmp_path / "b", vocab='{"x": 1}')
    assert tokenizer_fingerprint(first) != tokenizer_fingerprint(second)
    assert template_fingerprint(first) == template_fingerprint(second)


def test_another_template_changes_the_templates_only(tmp_path: Path) -> None:
    """A template is not part of how text is encoded."""
    first, second = _write(tmp_path / "a"), _write(tmp_path / "b", template="b")
    assert tokenizer_fingerprint(first) == tokenizer_fingerprint(second)
    assert template_fingerprint(first) != template_fingerprint(second)


def test_no_template_has_no_fingerprint(tmp_path: Path) -> None:
    """The command line sends plain text to such a model."""
    assert template_fingerprint(_write(tmp_path / "a", template=None)) == ""
