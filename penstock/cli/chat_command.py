"""`penstock chat`: its options. What it does is imported when it runs, so that `--help` is quick."""

from typing import Annotated

import typer

from penstock.cli import cache_policy, constraint
from penstock.cli.options import (
    AddressOption,
    ApiKeyOption,
    InsecureOption,
    StateDirOption,
    TlsCaOption,
    TlsCertOption,
    TlsKeyOption,
    TlsServerNameOption,
)


def chat(
    model: Annotated[str | None, typer.Option(help="A served model.  [default: the only one]")] = None,
    system: Annotated[str, typer.Option(help="Tell the model who it is.", show_default=False)] = "",
    temperature: Annotated[float | None, typer.Option(help="0 is greedy.  [default: the model's own]")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Most tokens of an answer.")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes sampling repeatable.")] = None,
    json_schema: constraint.JsonSchema = None,
    regex: constraint.Regex = None,
    grammar: constraint.Grammar = None,
    choice: constraint.Choices = None,
    no_cache: cache_policy.NoCache = False,
    refresh: cache_policy.Refresh = False,
    cache_max_error_rate: cache_policy.MaxErrorRate = None,
    cache_scope: cache_policy.Scope = None,
    cache_ttl: cache_policy.Ttl = None,
    cache_tag: cache_policy.Tags = None,
    address: AddressOption = None,
    api_key: ApiKeyOption = None,
    insecure: InsecureOption = False,
    tls_ca: TlsCaOption = None,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    tls_server_name: TlsServerNameOption = None,
    timeout: Annotated[float, typer.Option(min=0.001, help="Longest to wait for an answer, in seconds.")] = 300.0,
    state_dir: StateDirOption = None,
) -> None:
    """Talk with a model; answers stream, and the conversation is kept.

    Ctrl-C stops an answer, Ctrl-D leaves; /help lists the commands. Through a pipe, each line is a question.

    \b
    penstock chat
    penstock chat --system "You answer in one word." --temperature 0
    penstock chat --temperature 0 --cache-max-error-rate 0.02
    echo "What is 2 plus 3?" | penstock chat
    """
    from penstock.cli.chat import ChatCommand, run_chat
    from penstock.cli.gateway import GatewayAccess
    from penstock.local.paths import StateDir

    command = ChatCommand(
        model=model,
        system=system,
        temperature=temperature,
        max_tokens=max_tokens,
        seed=seed,
        constraint=constraint.given(json_schema, regex, grammar, choice),
        cache=cache_policy.given(
            no_cache=no_cache,
            refresh=refresh,
            max_error_rate=cache_max_error_rate,
            scope=cache_scope,
            ttl=cache_ttl,
            tags=cache_tag,
        ),
        timeout_s=timeout,
    )
    access = GatewayAccess(address, api_key, insecure, tls_ca, tls_cert, tls_key, tls_server_name)
    raise typer.Exit(run_chat(command, access=access, state_dir=StateDir.at(state_dir)))
