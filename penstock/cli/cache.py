"""`penstock cache`: its commands and their options."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli import cache_policy, constraint
from penstock.cli.options import JsonOption, StateDirOption

if TYPE_CHECKING:
    from penstock.cli.admin import AdminAccess

cache = typer.Typer(no_args_is_help=True)

TenantOption = Annotated[str, typer.Option(help="Whose answers; without API keys everybody is `default`.")]
AdminAddressOption = Annotated[
    str | None,
    typer.Option(
        envvar="PENSTOCK_ADMIN_ADDRESS",
        help="host:port of a gateway's port for operators.  [default: the local stack's]",
        show_default=False,
    ),
]
CredentialOption = Annotated[
    Path | None,
    typer.Option(
        "--credential-file",
        envvar="PENSTOCK_FLEET_CREDENTIAL_FILE",
        help="The fleet credential.  [default: the local stack's]",
        show_default=False,
    ),
]


@cache.callback()
def group() -> None:
    """Look into the cache of answers, empty it, carry it elsewhere.

    The cache answers the very same request again, and one in another wording where it has learned to trust its
    answer: it compares prompts, lets the model answer while it is not sure, and learns from the comparison. It is wrong
    in at most a share of cases that you set: --cache-max-error-rate of `penstock generate`, 1 % by default.

    \b
    Why was this question answered by the model?
      penstock cache explain "Which city is Italy's capital?" --temperature 0
    \b
    How often is the cache wrong?
      penstock cache stats
    """


@cache.command()
def stats(
    tenant: Annotated[
        str | None, typer.Option(help="Of this tenant alone.  [default: of all together]", show_default=False)
    ] = None,
    as_json: JsonOption = False,
    admin_address: AdminAddressOption = None,
    credential_file: CredentialOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Show what is kept, what was found, and how often the cache is estimated to be wrong.

    A share of the answers that could be served is checked against the model all the same (audits): the error rate is
    estimated from these, with the upper end of its 95 % confidence interval.

    \b
    penstock cache stats
    penstock cache stats --tenant acme --json | jq .error_rate_bound
    """
    from penstock.cli.cache_commands import show_stats

    show_stats(_access(admin_address, credential_file, state_dir), tenant or "", as_json=as_json)


@cache.command()
def explain(
    prompt: Annotated[str, typer.Argument(help="What would be asked; - reads standard input.", show_default=False)],
    tenant: TenantOption = "default",
    as_json: JsonOption = False,
    model: Annotated[str | None, typer.Option(help="A served model.  [default: the only one]")] = None,
    system: Annotated[str, typer.Option(help="The system prompt of the chat.", show_default=False)] = "",
    max_tokens: Annotated[int | None, typer.Option(help="Most tokens of output.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy.  [default: the model's own]")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes sampling repeatable.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text; may be repeated.")] = None,
    json_schema: constraint.JsonSchema = None,
    regex: constraint.Regex = None,
    grammar: constraint.Grammar = None,
    choice: constraint.Choices = None,
    adapter: Annotated[str | None, typer.Option(help="A loaded adapter of the model.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="The prompt as it is, without the chat template.")] = False,
    cache_max_error_rate: cache_policy.MaxErrorRate = None,
    cache_scope: cache_policy.Scope = None,
    admin_address: AdminAddressOption = None,
    credential_file: CredentialOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Show what the cache would do with a question, candidate by candidate, and why. Changes nothing.

    Give the options that the question comes with: answers are shared only where all but the wording is equal.

    \b
    penstock cache explain "Which city is Italy's capital?"
    penstock cache explain "Convert 5 km to miles" --cache-max-error-rate 0.03 --json | jq .candidates
    penstock cache explain "Once upon a time" --raw --tenant acme

    Similarity is the cosine of the two prompts, score the estimated probability that the stored answer serves, bound
    the most that it is likely to be wrong.
    """
    from penstock.cli.cache_commands import Question, explain_question

    question = Question(
        prompt=sys.stdin.read() if prompt == "-" else prompt,
        system=system,
        is_raw=raw,
        options={
            "model": model,
            "max_tokens": max_tokens,
            "temperature": temperature,
            "seed": seed,
            "stop": stop,
            "adapter": adapter,
            **constraint.given(json_schema, regex, grammar, choice),
            **cache_policy.given(max_error_rate=cache_max_error_rate, scope=cache_scope),
        },
    )
    explain_question(_access(admin_address, credential_file, state_dir), tenant, question, as_json=as_json)


@cache.command()
def invalidate(
    tenant: TenantOption = "default",
    tag: Annotated[
        list[str] | None, typer.Option(help="Answers that were kept with this --cache-tag; may be repeated.")
    ] = None,
    entry: Annotated[str | None, typer.Option(help="The one answer that `explain` names so.")] = None,
    model_revision: Annotated[str | None, typer.Option(help="Answers of these weights.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything of the tenant.")] = False,
    as_json: JsonOption = False,
    admin_address: AdminAddressOption = None,
    credential_file: CredentialOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Remove answers of one tenant: by tag, by entry, by revision, or all. Says how many went.

    \b
    penstock cache invalidate --tag prices
    penstock cache invalidate --tenant acme --entry 1042
    penstock cache invalidate --all
    """
    from penstock.cli.cache_commands import Selection, invalidate_answers

    selection = Selection(tuple(tag or ()), entry or "", model_revision or "", everything)
    invalidate_answers(_access(admin_address, credential_file, state_dir), tenant, selection, as_json=as_json)


@cache.command("export")
def export_(
    file: Annotated[Path, typer.Argument(help="Where to; - is standard output.", show_default=False)],
    tenant: TenantOption = "default",
    as_json: JsonOption = False,
    admin_address: AdminAddressOption = None,
    credential_file: CredentialOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Write all that is kept for a tenant to a file, one JSON object a line: answers, prompts, what was learned.

    It holds what users have asked and been told: the file is readable by you alone. Control characters stand escaped,
    so that it can be looked at in any terminal.

    \b
    penstock cache export answers.jsonl --tenant acme
    penstock cache export - | jq -r 'select(.entry).entry.prompt'
    """
    from penstock.cli.cache_transfer import export_cache

    export_cache(_access(admin_address, credential_file, state_dir), tenant, file, as_json=as_json)


@cache.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="An export; - is standard input.", show_default=False)],
    as_json: JsonOption = False,
    admin_address: AdminAddressOption = None,
    credential_file: CredentialOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Keep what `export` wrote, for the tenant that it names. The whole file is checked before anything is kept.

    What an answer is found by is made of the tenant's name, the model's weights and the whole request, so it is found
    where these are the same, and nowhere else.

    \b
    penstock cache import answers.jsonl
    """
    from penstock.cli.cache_transfer import import_cache

    import_cache(_access(admin_address, credential_file, state_dir), file, as_json=as_json)


def _access(address: str | None, credential_file: Path | None, state_dir: Path | None) -> "AdminAccess":
    from penstock.cli.admin import AdminAccess
    from penstock.local.paths import StateDir

    return AdminAccess(StateDir.at(state_dir), address, credential_file)
