"""The options of the command line that bind the output's form, and what they mean to the client."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from penstock.client import ConstraintOptions

_PANEL = "Form of the output (one of these)"


def _option(help_text: str, *names: str) -> Any:
    return typer.Option(*names, rich_help_panel=_PANEL, help=help_text, show_default=False)


JsonSchema = Annotated[str | None, _option("JSON that this schema validates: a file, or the schema itself.")]
Regex = Annotated[str | None, _option("Text that this regular expression matches as a whole.")]
Grammar = Annotated[Path | None, _option("Text of the grammar in this file (Lark syntax).")]
Choices = Annotated[list[str] | None, _option("Exactly this text; repeated for each choice.", "--choice")]


def given(
    json_schema: str | None, regex: str | None, grammar: Path | None, choices: list[str] | None
) -> "ConstraintOptions":
    """What was asked for.

    Raises:
        typer.BadParameter: more than one was, or a file cannot be read.
    """
    flags = {"--json-schema": json_schema, "--regex": regex, "--grammar": grammar, "--choice": choices}
    used = [flag for flag, value in flags.items() if value is not None]
    if len(used) > 1:
        raise typer.BadParameter(f"got {' and '.join(used)}; allowed: one of {', '.join(flags)}")
    if json_schema is not None:
        is_text = json_schema.lstrip().startswith("{") or json_schema.strip() in ("true", "false")
        return {"json_schema": json_schema if is_text else _read(Path(json_schema), "--json-schema")}
    if regex is not None:
        return {"regex": regex}
    if grammar is not None:
        return {"grammar": _read(grammar, "--grammar")}
    return {"one_of": choices} if choices is not None else {}


def _read(path: Path, flag: str) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{path}: {error}", param_hint=flag) from None
