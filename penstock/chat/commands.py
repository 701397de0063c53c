"""What a line means: something to say, or a command."""

from dataclasses import dataclass
from difflib import get_close_matches

HELP = """\
/system TEXT   tell the model who it is; alone, shows it; /system - removes it
/model NAME    go on with another model; alone, lists them
/save FILE     write the conversation, as Markdown (FILE.md) or JSON
/clear         forget the conversation, but for the system message
/help          this
/quit          leave, as Ctrl-D does

A line that ends in \\ goes on in the next; three quotation marks (\""") begin and end a longer text.
Ctrl-C stops an answer; what came of it stays. A line that shall begin with / is written with //."""

_NAMES = ("system", "model", "save", "clear", "help", "quit")


@dataclass(frozen=True, slots=True)
class Say:
    """Something for the model."""

    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """`/name argument`; the argument may be empty."""

    name: str
    argument: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """A command that does not exist; `hint` says what may have been meant."""

    hint: str


def parse(line: str) -> Say | Command | Unknown | None:
    """The meaning of a line; None for an empty one."""
    text = line.strip()
    if not text:
        return None
    if text.startswith("//"):
        return Say(text[1:])
    if not text.startswith("/"):
        return Say(text)
    name, argument = [*text[1:].split(maxsplit=1), "", ""][:2]
    return Command(name, argument) if name in _NAMES else Unknown(_hint(name))


def _hint(name: str) -> str:
    near = get_close_matches(name, _NAMES, n=1)
    meant = f"did you mean /{near[0]}?" if near else "/help lists what there is"
    return f"no command /{name}; {meant}"
