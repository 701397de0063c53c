"""The options of the command line that say what the cache may do, and what they mean to the client."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.duration import parse_duration

if TYPE_CHECKING:
    from penstock.client import CacheOptions

_PANEL = "Cache"


def _option(help_text: str, *names: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, rich_help_panel=_PANEL, help=help_text, show_default=False, metavar=metavar)


NoCache = Annotated[bool, _option("Neither look up nor store the answer.", "--no-cache")]
Refresh = Annotated[bool, _option("Do not look up, but store the new answer.", "--refresh")]
MaxErrorRate = Annotated[
    float | None,
    _option(
        "Largest share of wrong answers to accept where another wording's may serve; 0: the very same request's only."
        "  [default: the server's, 0.01]",
        "--cache-max-error-rate",
    ),
]
Scope = Annotated[
    str | None, _option("Share with requests that name the same scope only.", "--cache-scope", metavar="NAME")
]
Ttl = Annotated[str | None, _option("Keep the answer for so long (30s, 12h, 30d).", "--cache-ttl", metavar="TIME")]
Tags = Annotated[
    list[str] | None,
    _option("A label by which `penstock cache invalidate` finds it; may be repeated.", "--cache-tag", metavar="TAG"),
]


def given(
    *,
    no_cache: bool = False,
    refresh: bool = False,
    max_error_rate: float | None = None,
    scope: str | None = None,
    ttl: str | None = None,
    tags: list[str] | None = None,
) -> "CacheOptions":
    """What was asked for.

    Raises:
        typer.BadParameter: both modes were, or the time is none.
    """
    if no_cache and refresh:
        raise typer.BadParameter("got --no-cache and --refresh; allowed: one of them")
    options: CacheOptions = {"cache": "bypass" if no_cache else "refresh" if refresh else "use"}
    if max_error_rate is not None:
        options["cache_max_error_rate"] = max_error_rate
    if scope is not None:
        options["cache_scope"] = scope
    if tags is not None:
        options["cache_tags"] = tags
    try:
        if ttl is not None:
            options["cache_ttl_s"] = parse_duration(ttl)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--cache-ttl") from error
    return options
