"""`penstock bench`: its commands and their options."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from penstock.cli.options import (
    AddressOption,
    ApiKeyOption,
    InsecureOption,
    JsonOption,
    StateDirOption,
    TlsCaOption,
    TlsCertOption,
    TlsKeyOption,
    TlsServerNameOption,
)

T = TypeVar("T")


class TrafficChoice(StrEnum):
    """In which order prompts are asked."""

    UNIFORM = "uniform"
    ZIPF = "zipf"


class LabelsChoice(StrEnum):
    """What explorations are judged by."""

    CLASS = "class"
    PRODUCTION = "production"


_DEFAULT_CONCURRENCY = 8
_DEFAULT_DURATION = "30s"

bench = typer.Typer(no_args_is_help=True, help="Measure what a gateway and its cache can do.")

_LOOP, _SHAPE, _SLO, _OUTPUT = "How fast", "What is sent", "What is good", "Where results go"


@bench.callback()
def group() -> None:
    """Measure what a gateway and its cache can do."""


@bench.command()
def load(
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency",
            "-c",
            min=1,
            rich_help_panel=_LOOP,
            help="Closed loop: so many conversations at a time.  [default: 8, without --rate]",
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate",
            "-r",
            min=0.001,
            rich_help_panel=_LOOP,
            help="Open loop: conversations that begin a second, as a Poisson process.",
        ),
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option(
            "--duration",
            "-d",
            rich_help_panel=_LOOP,
            help="Begin no request after this time (90s, 2m).  [default: 30s, without --requests]",
        ),
    ] = None,
    requests: Annotated[
        int | None, typer.Option("--requests", "-n", min=1, rich_help_panel=_LOOP, help="Most requests.")
    ] = None,
    prompt_tokens: Annotated[
        str,
        typer.Option(
            rich_help_panel=_SHAPE, help="New tokens of a prompt: 200, 64-256 (uniform), or lognormal:MEDIAN,SIGMA."
        ),
    ] = "64-256",
    output_tokens: Annotated[
        str, typer.Option(rich_help_panel=_SHAPE, help="Exact tokens of an answer, written the same way.")
    ] = "64",
    turns: Annotated[
        str, typer.Option(rich_help_panel=_SHAPE, help="Requests of a conversation, written the same way.")
    ] = "1",
    prefix_tokens: Annotated[
        int, typer.Option(min=0, rich_help_panel=_SHAPE, help="Shared tokens in front of each conversation.")
    ] = 0,
    num_prefixes: Annotated[
        int, typer.Option(min=1, rich_help_panel=_SHAPE, help="How many different such prefixes.")
    ] = 1,
    seed: Annotated[int, typer.Option(rich_help_panel=_SHAPE, help="Decides the whole plan.")] = 0,
    cache: Annotated[
        bool, typer.Option("--cache", rich_help_panel=_SHAPE, help="Let answers come from the cache.")
    ] = False,
    slo_ttft: Annotated[
        str | None, typer.Option(rich_help_panel=_SLO, help="Longest time to the first token (200ms).")
    ] = None,
    slo_itl: Annotated[
        str | None, typer.Option(rich_help_panel=_SLO, help="Longest mean time per token after it (50ms).")
    ] = None,
    slo_e2e: Annotated[str | None, typer.Option(rich_help_panel=_SLO, help="Longest time to the end (5s).")] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", rich_help_panel=_OUTPUT, help="All figures as JSON; - for stdout."),
    ] = None,
    plot_file: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", rich_help_panel=_OUTPUT, help="A picture (PNG); needs matplotlib."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="A served model.  [default: the only one]")] = None,
    address: AddressOption = None,
    api_key: ApiKeyOption = None,
    insecure: InsecureOption = False,
    tls_ca: TlsCaOption = None,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    tls_server_name: TlsServerNameOption = None,
    timeout: Annotated[str, typer.Option(help="Deadline of each request.")] = "60s",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="The gateway may be on another machine, and is yours to load.")
    ] = False,
    state_dir: StateDirOption = None,
) -> None:
    """Put a gateway under load and measure latencies, throughput and goodput.

    Closed loop (--concurrency): who gets an answer sends the next request. Open loop (--rate): requests come when they
    come, however slow the server is, and latencies count from when a request was due. Ctrl-C prints what was measured
    so far. Only gateways on this machine, unless --allow-remote is given.

    \b
    penstock bench load --concurrency 16 --duration 30s
    penstock bench load --rate 4 --duration 1m --slo-ttft 200ms --slo-itl 50ms
    penstock bench load --requests 200 --prefix-tokens 256 --turns 2-4 --json run.json --plot run.png
    """
    from penstock.bench.figures import Slo
    from penstock.bench.lengths import parse_lengths
    from penstock.bench.settings import LoadSettings
    from penstock.bench.workload import WorkloadShape
    from penstock.cli.bench_load import Outputs, run_bench_load
    from penstock.cli.duration import parse_duration
    from penstock.cli.gateway import GatewayAccess
    from penstock.local.paths import StateDir

    if concurrency is not None and rate is not None:
        raise typer.BadParameter("give one of them: a closed or an open loop", param_hint="--concurrency, --rate")
    if duration is None and requests is None:
        duration = _DEFAULT_DURATION
    settings = LoadSettings(
        model=model,
        concurrency=(concurrency or _DEFAULT_CONCURRENCY) if rate is None else None,
        rate_per_s=rate,
        num_requests=requests,
        duration_s=_parsed(parse_duration, "--duration", duration),
        shape=WorkloadShape(
            prompt_tokens=_required(parse_lengths, "--prompt-tokens", prompt_tokens),
            output_tokens=_required(parse_lengths, "--output-tokens", output_tokens),
            turns=_required(parse_lengths, "--turns", turns),
            prefix_tokens=prefix_tokens,
            num_prefixes=num_prefixes,
        ),
        seed=seed,
        timeout_s=_required(parse_duration, "--timeout", timeout),
        slo=Slo(
            ttft_s=_parsed(parse_duration, "--slo-ttft", slo_ttft),
            itl_s=_parsed(parse_duration, "--slo-itl", slo_itl),
            e2e_s=_parsed(parse_duration, "--slo-e2e", slo_e2e),
        ),
        uses_cache=cache,
    )
    exit_code = run_bench_load(
        settings,
        Outputs(json_file, plot_file),
        access=GatewayAccess(address, api_key, insecure, tls_ca, tls_cert, tls_key, tls_server_name),
        state_dir=StateDir.at(state_dir),
        allow_remote=allow_remote,
    )
    raise typer.Exit(exit_code)


@bench.command()
def cache(
    data: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="Prompts in classes: JSON lines with class, family, domain, prompt and answer."
        ),
    ],
    max_error_rate: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Accepted share of wrong hits among lookups by meaning.")
    ] = 0.01,
    traffic: Annotated[
        TrafficChoice,
        typer.Option(rich_help_panel=_SHAPE, help="Every prompt once, or few classes often (Zipf, exponent 1)."),
    ] = TrafficChoice.UNIFORM,
    requests: Annotated[
        int | None,
        typer.Option(
            "--requests", "-n", min=1, rich_help_panel=_SHAPE, help="How many.  [default: all prompts; zipf: 20000]"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(rich_help_panel=_SHAPE, help="Decides the whole plan.")] = 0,
    labels: Annotated[
        LabelsChoice,
        typer.Option(
            rich_help_panel=_SHAPE,
            help="What explorations are judged by: the class, or a comparison of answers in words of their own.",
        ),
    ] = LabelsChoice.CLASS,
    label_noise: Annotated[
        float, typer.Option(min=0.0, max=1.0, rich_help_panel=_SHAPE, help="Share of explorations judged falsely.")
    ] = 0.0,
    drift: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, rich_help_panel=_SHAPE, help="Share of classes with another answer midway."),
    ] = 0.0,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="Replay static similarities, the verifier without learning, and other error rates, too."
        ),
    ] = False,
    as_json: JsonOption = False,
    plot_file: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", rich_help_panel=_OUTPUT, help="A picture (PNG); needs matplotlib."),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="host:port of a cache service.  [default: the local stack's]")
    ] = None,
    credential_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The fleet credential.  [default: the local stack's; with --address: none]"),
    ] = None,
    timeout: Annotated[str, typer.Option(help="Deadline of each call.")] = "10s",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="The service may be on another machine, and is yours to ask.")
    ] = False,
    state_dir: StateDirOption = None,
) -> None:
    """Measure how often the semantic cache hits, and how often it is wrong.

    Replays prompts whose right answers are known through the cache service, under a tenant that is removed at the end.
    What it does not serve is answered and stored as a model would; what it explores is judged.

    \b
    penstock bench cache --data prompts.jsonl --max-error-rate 0.01
    penstock bench cache --data prompts.jsonl --compare --plot cache.png
    penstock bench cache --data prompts.jsonl --traffic zipf --labels production --label-noise 0.05 --json
    """
    from penstock.bench.cache.settings import Labels, ReplaySettings
    from penstock.bench.cache.traffic import Traffic
    from penstock.cli.bench_cache import CacheAccess, run_bench_cache
    from penstock.cli.duration import parse_duration
    from penstock.local.paths import StateDir

    if not max_error_rate:
        raise typer.BadParameter(
            "0 allows exact hits only, and there is nothing to measure", param_hint="--max-error-rate"
        )
    settings = ReplaySettings(
        max_error_rate=max_error_rate,
        traffic=Traffic(traffic),
        num_requests=requests,
        seed=seed,
        labels=Labels(labels),
        label_noise=label_noise,
        drift=drift,
        is_compared=compare,
    )
    run_bench_cache(
        data,
        settings,
        access=CacheAccess(address, credential_file, _required(parse_duration, "--timeout", timeout), allow_remote),
        state_dir=StateDir.at(state_dir),
        as_json=as_json,
        plot_file=plot_file,
    )


def _parsed(parse: Callable[[str], T], option: str, text: str | None) -> T | None:
    return None if text is None else _required(parse, option, text)


def _required(parse: Callable[[str], T], option: str, text: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error
