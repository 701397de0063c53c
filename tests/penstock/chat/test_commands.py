"""What a line means."""

import pytest

from penstock.chat.commands import HELP, Command, Say, Unknown, parse


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("What is 2 plus 3?", Say("What is 2 plus 3?")),
        ("  spaced  ", Say("spaced")),
        ("two\nlines", Say("two\nlines")),
        ("//etc is a directory", Say("/etc is a directory")),
        ("/clear", Command("clear", "")),
        ("/system  You are brief. ", Command("system", "You are brief.")),
        ("/save my talk.md", Command("save", "my talk.md")),
        ("/clera", Unknown("no command /clera; did you mean /clear?")),
        ("/xyzzy", Unknown("no command /xyzzy; /help lists what there is")),
        ("/", Unknown("no command /; /help lists what there is")),
        ("   ", None),
    ],
)
def test_meaning_of_a_line(line: str, meaning: object) -> None:
    """A typo in a command must not be sent to a model."""
    assert parse(line) == meaning


def test_help_names_every_command() -> None:
    """It is the only place where people look."""
    for name in ("system", "model", "save", "clear", "help", "quit"):
        assert f"/{name}" in HELP
        assert isinstance(parse(f"/{name}"), Command)
