"""The sampling options of the command line, and what they mean to the client."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

if TYPE_CHECKING:
    from penstock.client import SamplingOptions

_PANEL = "Sampling"
_LOGPROBS = "log probabilities, and this many alternatives, with --json."


def _option(help_text: str, *names: str) -> Any:
    return typer.Option(*names, rich_help_panel=_PANEL, help=help_text, show_default=False)


TopP = Annotated[float | None, _option("Draw from the smallest set of tokens with this probability.")]
TopK = Annotated[int | None, _option("Draw from this many most likely tokens; 0: all.")]
MinP = Annotated[float | None, _option("Leave out tokens below this share of the top probability.")]
RepetitionPenalty = Annotated[float | None, _option("Above 1 discourages tokens of prompt and output.")]
PresencePenalty = Annotated[float | None, _option("Subtracted once from tokens in the output.")]
FrequencyPenalty = Annotated[float | None, _option("Subtracted for each occurrence in the output.")]
NumChoices = Annotated[int | None, _option("Number of answers.", "--n", "-n")]
MinTokens = Annotated[int | None, _option("Least tokens of output before it may end.")]
StopTokenIds = Annotated[list[int] | None, _option("End at this token; may be repeated.", "--stop-token-id")]
LogitBias = Annotated[list[str] | None, _option("ID=VALUE, added to a token's logit; may be repeated.")]
IgnoreEos = Annotated[bool, _option("Go on after an end-of-sequence token.", "--ignore-eos")]
Logprobs = Annotated[int | None, _option(f"Output tokens' {_LOGPROBS}")]
PromptLogprobs = Annotated[int | None, _option(f"Prompt tokens' {_LOGPROBS}")]


def given(**options: object) -> "SamplingOptions":
    """The options that were given: an absent one is the model's own default, which differs from zero."""
    is_given = {name: value for name, value in options.items() if value is not None and value is not False}
    return cast("SamplingOptions", is_given)


def parse_logit_bias(texts: Iterable[str] | None) -> dict[int, float] | None:
    """Biases by token id.

    Raises:
        typer.BadParameter: one is not ID=VALUE.
    """
    return None if texts is None else dict(map(_parse_bias, texts))


def _parse_bias(text: str) -> tuple[int, float]:
    token_id, _, value = text.partition("=")
    try:
        return int(token_id), float(value)
    except ValueError:
        message = f"got {text!r}; allowed: ID=VALUE like 50256=-100"
        raise typer.BadParameter(message, param_hint="--logit-bias") from None
