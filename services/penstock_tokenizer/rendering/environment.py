"""The Jinja environment that chat templates are written for, sandboxed.

It follows what transformers gives templates: blocks trimmed, `break` and `continue`, `raise_exception`,
`strftime_now`, a `tojson` that leaves HTML characters alone, and the `generation` tag.
"""

import datetime as dt
import json
from typing import Any, NoReturn

from jinja2 import nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment


class RaisedByTemplateError(TemplateError):
    """The template itself refused its input; expected."""


class GenerationTag(Extension):
    """`{% generation %}` marks what a model wrote, for training. Here its body is just rendered."""

    tags = {"generation"}  # noqa: RUF012 - jinja's own declaration

    def parse(self, parser: Parser) -> nodes.Node:
        """The body, in a scope of its own as in transformers."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


def make_environment() -> ImmutableSandboxedEnvironment:
    """A fresh environment."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _raise_exception(message: str) -> NoReturn:
    raise RaisedByTemplateError(message)


def _strftime_now(time_format: str) -> str:
    return dt.datetime.now().strftime(time_format)  # noqa: DTZ005 - templates mean the local day


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
