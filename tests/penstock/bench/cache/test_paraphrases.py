"""Files of prompts in classes."""

import json
from pathlib import Path
from typing import Any

import pytest

from penstock.bench.cache.paraphrases import DataError, Paraphrase, load_paraphrases


def line(prompt: str = "how far", **fields: Any) -> str:
    """One line; a field that is `...` is left out."""
    told = {"class": "1", "family": "f", "domain": "d", "prompt": prompt, "answer": "5 km"} | fields
    return json.dumps({name: value for name, value in told.items() if value is not ...})


def written(path: Path, *lines: str) -> Path:
    """A file of these lines."""
    file = path / "data.jsonl"
    file.write_text("\n".join(lines))
    return file


def test_lines_become_prompts_with_one_answer_a_class(tmp_path: Path) -> None:
    """Only one line of a class needs the answer; blank lines and fields of others are no matter."""
    data = load_paraphrases(written(tmp_path, line(extra=1), "", line("what distance", answer=None)))
    assert data.prompts == (Paraphrase("how far", "1", "f", "d"), Paraphrase("what distance", "1", "f", "d"))
    assert data.answers == {"1": "5 km"}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("{", "line 2: no JSON"),
        ("[1]", "line 2: got [1]; allowed: a JSON object"),
        (line("b", family=...), "line 2: family: missing"),
        (line("b", answer=...), "line 2: answer: missing"),
        (line(prompt=3), "line 2: prompt: got 3; allowed: a string that is not empty"),  # type: ignore[arg-type]
        (line("b", domain=" "), 'line 2: domain: got " "; allowed: a string that is not empty'),
        (line("b", answer=7), "line 2: answer: got 7"),
        (line("b", answer="6 km"), 'line 2: answer: got "6 km"; allowed: null, or what line 1 says'),
        (line("b", family="g"), "line 2: family: got \"g\"; allowed: 'f', as for class '1' in line 1"),
        (line(), 'line 2: prompt: got "how far"; allowed: a prompt that no other line has; line 1 has it'),
        (line("b", **{"class": "2"}, answer=None), "line 2: answer: got null; allowed: the answer"),
        (line("b \ud800"), 'line 2: prompt: got "b \\ud800"; allowed: text that UTF-8 can hold'),
    ],
)
def test_wrong_line_is_told_by_number_field_and_what_is_allowed(tmp_path: Path, wrong: str, told: str) -> None:
    """Files have thousands of lines."""
    with pytest.raises(DataError, match=r"data\.jsonl") as error:
        load_paraphrases(written(tmp_path, line(), wrong))
    assert told in str(error.value)


def test_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """Not there, a directory, no text, or nothing in it."""
    with pytest.raises(DataError, match="No such file"):
        load_paraphrases(tmp_path / "none")
    with pytest.raises(DataError, match="directory"):
        load_paraphrases(tmp_path)
    (tmp_path / "bytes").write_bytes(b"{\xff")
    with pytest.raises(DataError, match="byte 1 is not UTF-8"):
        load_paraphrases(tmp_path / "bytes")
    with pytest.raises(DataError, match="holds no prompt"):
        load_paraphrases(written(tmp_path, ""))
