"""The commands and their options. What a command does is imported when it runs, so that `--help` is quick."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from penstock.cli import cache_policy, constraint, sampling
from penstock.cli.adapters import adapters
from penstock.cli.bench import bench
from penstock.cli.cache import cache
from penstock.cli.chat_command import chat
from penstock.cli.errors import FAILED, INTERRUPTED, NOTHING_THERE, CommandError, complain
from penstock.cli.fleet import fleet
from penstock.cli.keys import keys
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

_EPILOG = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 nothing there, 130 interrupted."

_TLS = "TLS at the gateway"

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EPILOG,
)
app.add_typer(adapters, name="adapters")
app.add_typer(bench, name="bench")
app.add_typer(cache, name="cache")
app.add_typer(fleet, name="fleet")
app.add_typer(keys, name="keys")


class Device(StrEnum):
    """What the workers compute on."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Dtype(StrEnum):
    """What the workers compute with."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class PoolingChoice(StrEnum):
    """How token vectors become one."""

    LAST = "last"
    MEAN = "mean"


class Quantize(StrEnum):
    """What the model's projections are rounded to."""

    NONE = "none"
    INT8 = "int8"
    INT4 = "int4"


@app.callback()
def penstock() -> None:
    """Serves large language models as gRPC microservices.

    \b
    A stack with the embedded model, asked, and stopped again:
      penstock up --detach
      penstock generate "What is the capital of France?"
      penstock chat
      penstock down

    \b
    A checkpoint of your own (Hugging Face, safetensors):
      penstock up --model ~/models/Qwen2.5-0.5B-Instruct --replicas 1

    \b
    What runs, what it logs, and an answer with all its figures:
      penstock status
      penstock logs gateway --follow
      penstock restart gateway
      penstock fleet scale pocket 3
      penstock generate "Hi" --json --temperature 0

    \b
    Let in only who has a key:
      export PENSTOCK_API_KEY=$(penstock keys create --tenant acme)
      penstock generate "Hi"
    """


@app.command()
def up(
    model: Annotated[
        Path | None,
        typer.Option(help="Directory of a Hugging Face checkpoint (safetensors).  [default: the embedded one]"),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What requests call the model.  [default: its directory's name]")
    ] = None,
    replicas: Annotated[int, typer.Option(min=1, help="Workers that serve it.")] = 2,
    tensor_parallel: Annotated[
        int, typer.Option(min=1, max=64, help="Processes of a worker that share each layer.")
    ] = 1,
    pipeline_parallel: Annotated[
        int, typer.Option(min=1, max=64, help="Stages that a worker's layers are cut into.")
    ] = 1,
    device: Annotated[Device, typer.Option(help="What they compute on.")] = Device.AUTO,
    dtype: Annotated[Dtype, typer.Option(help="What they compute with.")] = Dtype.AUTO,
    no_prefix_cache: Annotated[
        bool, typer.Option("--no-prefix-cache", help="Compute equal beginnings of prompts anew for each.")
    ] = False,
    quantize: Annotated[
        Quantize, typer.Option(help="Round the model's projections when it is loaded; on a CPU.")
    ] = Quantize.NONE,
    adapter: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIR", help="Load a LoRA adapter that requests may name; may be repeated."),
    ] = None,
    speculate: Annotated[
        str,
        typer.Option(
            metavar="off|prompt-lookup|DIR",
            help="Draft tokens and keep those that are right: from what was there before, or by a smaller checkpoint.",
        ),
    ] = "off",
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Same bits whatever else runs; on a CPU, at some cost.")
    ] = False,
    gateway_port: Annotated[int, typer.Option(min=0, max=65535, help="gRPC, for clients; 0: any free one.")] = 50051,
    http_port: Annotated[int, typer.Option(min=0, max=65535, help="/healthz and /metrics; 0: any free one.")] = 8080,
    cache_port: Annotated[int, typer.Option(min=0, max=65535, help="Inner port; 0: any free one.")] = 50052,
    tokenizer_port: Annotated[int, typer.Option(min=0, max=65535, help="Inner port; 0: any free one.")] = 50053,
    fleet_port: Annotated[int, typer.Option(min=0, max=65535, help="Inner port; 0: any free one.")] = 50054,
    admin_port: Annotated[int, typer.Option(min=0, max=65535, help="gRPC, for operators; 0: any free one.")] = 50055,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=_TLS,
            envvar="PENSTOCK_GATEWAY_TLS_CERT_FILE",
            help="Speak TLS with clients; the gateway's certificate (PEM).",
        ),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(rich_help_panel=_TLS, envvar="PENSTOCK_GATEWAY_TLS_KEY_FILE", help="The certificate's key (PEM)."),
    ] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=_TLS,
            envvar="PENSTOCK_GATEWAY_TLS_CLIENT_CA_FILE",
            help="Clients must show a certificate signed by one of these (PEM).",
        ),
    ] = None,
    state_dir: StateDirOption = None,
    otlp_endpoint: Annotated[
        str | None,
        typer.Option(envvar="PENSTOCK_OTLP_ENDPOINT", help="Send traces there (OTLP/gRPC, http://host:port)."),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when it can serve; it goes on.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Give up when it cannot serve by then, in seconds.")] = 120.0,
) -> None:
    """Start a stack on this machine: cache, tokenizer, Ray workers, gateway.

    Without --detach it stays in the foreground; Ctrl-C drains and stops it.

    \b
    penstock up
    penstock up --model ~/models/Qwen2.5-0.5B-Instruct --replicas 1 --tensor-parallel 2 --detach
    penstock up --state-dir /tmp/second --gateway-port 0 --http-port 0 --admin-port 0 \\
      --cache-port 0 --tokenizer-port 0 --fleet-port 0
    """
    from penstock.cli.up import run_up
    from penstock.local.paths import StateDir
    from penstock.local.ports import Ports
    from penstock.local.settings import StackSettings, choose_adapters, choose_model, choose_speculation

    model_dir, model_name = choose_model(model, name)
    settings = StackSettings(
        state_dir=StateDir.at(state_dir).path,
        model_dir=model_dir,
        model_name=model_name,
        num_replicas=replicas,
        tensor_parallel=tensor_parallel,
        pipeline_parallel=pipeline_parallel,
        device=device.value,
        dtype=dtype.value,
        has_prefix_cache=not no_prefix_cache,
        quantize=quantize.value,
        adapters=choose_adapters(adapter or []),
        speculate=choose_speculation(speculate),
        is_deterministic=deterministic,
        ports=Ports(gateway_port, http_port, cache_port, tokenizer_port, fleet_port, admin_port),
        tls_cert=_absolute(tls_cert),
        tls_key=_absolute(tls_key),
        tls_client_ca=_absolute(tls_client_ca),
        otlp_endpoint=otlp_endpoint,
        start_timeout_s=timeout,
    )
    run_up(settings, detach=detach)


@app.command()
def down(
    state_dir: StateDirOption = None,
    timeout: Annotated[float, typer.Option(min=1, help="Kill what has not drained by then, in seconds.")] = 75.0,
) -> None:
    """Drain and stop the stack. Leaves no process, and says what it stopped."""
    from penstock.cli.down import run_down
    from penstock.local.paths import StateDir

    run_down(StateDir.at(state_dir), timeout_s=timeout)


@app.command()
def restart(
    service: Annotated[str, typer.Argument(help="gateway, cache, tokenizer or worker.", show_default=False)],
    state_dir: StateDirOption = None,
    timeout: Annotated[float, typer.Option(min=1, help="Wait no longer than this, in seconds.")] = 180.0,
) -> None:
    """Drain one service, start it again, and wait until the stack serves again.

    \b
    penstock restart gateway
    """
    from penstock.cli.restart import run_restart
    from penstock.local.paths import StateDir

    run_restart(StateDir.at(state_dir), service, timeout_s=timeout)


@app.command()
def status(state_dir: StateDirOption = None, as_json: JsonOption = False) -> None:
    """Show what runs, and how it is. Exit code 3 where nothing runs."""
    from penstock.cli.status import run_status
    from penstock.local.paths import StateDir

    run_status(StateDir.at(state_dir), as_json=as_json)


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="What to answer; - reads it from standard input.", show_default=False)],
    as_json: JsonOption = False,
    model: Annotated[str | None, typer.Option(help="A served model.  [default: the only one]")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Most tokens of output.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy.  [default: the model's own]")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes sampling repeatable.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text; may be repeated.")] = None,
    top_p: sampling.TopP = None,
    top_k: sampling.TopK = None,
    min_p: sampling.MinP = None,
    repetition_penalty: sampling.RepetitionPenalty = None,
    presence_penalty: sampling.PresencePenalty = None,
    frequency_penalty: sampling.FrequencyPenalty = None,
    n: sampling.NumChoices = None,
    min_tokens: sampling.MinTokens = None,
    stop_token_id: sampling.StopTokenIds = None,
    logit_bias: sampling.LogitBias = None,
    ignore_eos: sampling.IgnoreEos = False,
    logprobs: sampling.Logprobs = None,
    prompt_logprobs: sampling.PromptLogprobs = None,
    json_schema: constraint.JsonSchema = None,
    regex: constraint.Regex = None,
    grammar: constraint.Grammar = None,
    choice: constraint.Choices = None,
    adapter: Annotated[str | None, typer.Option(help="A loaded adapter of the model.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Send the prompt as it is, without the chat template.")] = False,
    token_ids: Annotated[
        bool,
        typer.Option(
            "--token-ids", help="With --json, the answer's token ids; no other wording's answer from the cache then."
        ),
    ] = False,
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
    timeout: Annotated[float, typer.Option(min=0.001, help="Longest to wait, in seconds.")] = 300.0,
    state_dir: StateDirOption = None,
) -> None:
    """Generate from a prompt and stream the answer.

    The prompt goes as one chat message where the model has a chat template, else as plain text.

    \b
    penstock generate "What is the capital of France?"
    penstock generate "Once upon a time" --raw --max-tokens 40 --temperature 0.8 --seed 7
    penstock generate "What is 2 plus 3?" --json | jq .timings
    penstock generate "The sky is blue" --raw --prompt-logprobs 3 --max-tokens 1 --json | jq .prompt_logprobs
    penstock generate "Is water wet?" --choice yes --choice no
    penstock generate "What is the capital of Italy?" --json-schema city.json
    penstock generate "Which city is Italy's capital?" --json --cache-max-error-rate 0.02 | jq .cache
    """
    from penstock.cli.gateway import GatewayAccess
    from penstock.cli.generate import GenerateCommand, run_generate
    from penstock.local.paths import StateDir

    command = GenerateCommand(
        prompt=sys.stdin.read() if prompt == "-" else prompt,
        model=model,
        sampling=sampling.given(
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
            stop=stop,
            top_p=top_p,
            top_k=top_k,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
            presence_penalty=presence_penalty,
            frequency_penalty=frequency_penalty,
            n=n,
            min_tokens=min_tokens,
            stop_token_ids=stop_token_id,
            logit_bias=sampling.parse_logit_bias(logit_bias),
            ignore_eos=ignore_eos,
            logprobs=logprobs,
            prompt_logprobs=prompt_logprobs,
        ),
        constraint=constraint.given(json_schema, regex, grammar, choice),
        adapter=adapter,
        is_raw=raw,
        returns_token_ids=token_ids,
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
    run_generate(command, access=access, state_dir=StateDir.at(state_dir), as_json=as_json)


@app.command()
def embed(
    texts: Annotated[list[str], typer.Argument(help="What to turn into vectors.", show_default=False)],
    as_json: JsonOption = False,
    model: Annotated[str | None, typer.Option(help="A served model.  [default: the only one]")] = None,
    pooling: Annotated[PoolingChoice, typer.Option(help="Which token's vector counts, or the mean of all.")] = (
        PoolingChoice.LAST
    ),
    normalize: Annotated[bool, typer.Option("--normalize", help="Scale each vector to length 1.")] = False,
    address: AddressOption = None,
    api_key: ApiKeyOption = None,
    insecure: InsecureOption = False,
    tls_ca: TlsCaOption = None,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    tls_server_name: TlsServerNameOption = None,
    timeout: Annotated[float, typer.Option(min=0.001, help="Longest to wait, in seconds.")] = 300.0,
    state_dir: StateDirOption = None,
) -> None:
    """Turn texts into vectors: one JSON list a line.

    \b
    penstock embed "a cat" "a dog" --pooling mean --normalize
    """
    from penstock.cli.embed import EmbedCommand, run_embed
    from penstock.cli.gateway import GatewayAccess
    from penstock.client import EmbedOptions
    from penstock.local.paths import StateDir

    options: EmbedOptions = {
        "model": model or "",
        "pooling": "mean" if pooling is PoolingChoice.MEAN else "last_token",
        "normalize": normalize,
    }
    access = GatewayAccess(address, api_key, insecure, tls_ca, tls_cert, tls_key, tls_server_name)
    command = EmbedCommand(texts, options, timeout)
    run_embed(command, access=access, state_dir=StateDir.at(state_dir), as_json=as_json)


app.command()(chat)


@app.command()
def logs(
    service: Annotated[str | None, typer.Argument(help="gateway, cache, tokenizer, worker or supervisor.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 50,
    state_dir: StateDirOption = None,
) -> None:
    """Show the logs of the services, of this start or the last."""
    from penstock.cli.logs import run_logs
    from penstock.local.paths import StateDir

    run_logs(StateDir.at(state_dir), service=service, follow=follow, num_lines=lines)


@app.command()
def version() -> None:
    """Print the version."""
    import penstock as package

    typer.echo(f"penstock {package.__version__}")


def _absolute(path: Path | None) -> Path | None:
    """The services run in another directory."""
    return None if path is None else path.expanduser().absolute()


def main() -> None:
    """Runs the command line; every expected error is one line and an exit code."""
    # Unset, gRPC's core writes notes such as "Got goaway" to the terminal when a stack stops.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    sys.exit(_run())


def _run() -> int:
    from penstock.local.errors import LocalError, NotRunningError

    try:
        app()
    except NotRunningError as error:
        complain(str(error))
        return NOTHING_THERE
    except LocalError as error:
        complain(str(error))
        return FAILED
    except CommandError as error:
        complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0
