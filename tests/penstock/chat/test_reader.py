"""What is read from a terminal or a pipe."""

from io import StringIO

import pytest

from penstock.chat.reader import pipe_line_reader, read_text


def texts(typed: str) -> list[str]:
    """All texts in what was typed."""
    read_line = pipe_line_reader(StringIO(typed))
    found = []
    try:
        while True:
            found.append(read_text(read_line))
    except EOFError:
        return found


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("one\ntwo\n", ["one", "two"]),
        ("no end", ["no end"]),
        ("one \\\ntwo\\\nthree\nfour\n", ["one \ntwo\nthree", "four"]),
        ('"""\ndef f():\n    return 1\n"""\nnext\n', ["def f():\n    return 1", "next"]),
        ('"""one\ntwo"""\n', ["one\ntwo"]),
        ('"""one"""\n', ["one"]),
        ('"""\nends in \\\n"""\n', ["ends in \\"]),
        ('say """ here\n', ['say """ here']),
        ('"""\nnever closed\n', ["never closed"]),
        ("never continued \\\n", ["never continued "]),
        ("\n", [""]),
        ("", []),
    ],
)
def test_texts_of_one_line_and_of_several(typed: str, expected: list[str]) -> None:
    """Code and letters have more than one line."""
    assert texts(typed) == expected


def test_prompt_tells_that_a_text_goes_on() -> None:
    """Nobody waits for an answer to half a question."""
    prompts = []
    lines = iter(["one \\", "two"])

    def read_line(prompt: str) -> str:
        prompts.append(prompt)
        return next(lines)

    assert read_text(read_line) == "one \ntwo"
    assert prompts == ["> ", ". "]
