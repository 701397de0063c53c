"""`penstock generate`: one prompt, one answer, streamed or as JSON."""

import json
import sys
from dataclasses import asdict, dataclass
from typing import Any, cast

from penstock.chat.cache_words import cache_words
from penstock.cli.gateway import GatewayAccess, explained, gateway_address, open_client
from penstock.cli.telemetry import command_tracer
from penstock.client import (
    Answer,
    CacheOptions,
    Choice,
    Client,
    ConstraintOptions,
    GenerationOptions,
    PenstockError,
    SamplingOptions,
)
from penstock.local.paths import StateDir
from penstock.local.record import load_state


@dataclass(frozen=True, slots=True)
class GenerateCommand:
    """What was asked for. `model` None: the only one. `adapter` None: the model as it is."""

    prompt: str
    model: str | None
    sampling: SamplingOptions
    constraint: ConstraintOptions
    adapter: str | None
    is_raw: bool
    returns_token_ids: bool
    cache: CacheOptions
    timeout_s: float


def run_generate(command: GenerateCommand, *, access: GatewayAccess, state_dir: StateDir, as_json: bool) -> None:
    """Asks the gateway of `access`, else that of the local stack, and prints the answer.

    Raises:
        CommandError: no gateway is there, or the generation failed.
    """
    state = load_state(state_dir.stack_file)
    target, access = gateway_address(access.address, state), access.trusting(state)
    with command_tracer("penstock generate", state.otlp_endpoint if state else None) as tracer:
        try:
            with open_client(target, access, timeout_s=command.timeout_s, tracer=tracer) as client:
                (_print_json if as_json else _print_text)(client, command)
        except PenstockError as error:
            raise explained(error, target, command.timeout_s) from error


def _print_json(client: Client, command: GenerateCommand) -> None:
    prompt, options = _request(client, command)
    with client.stream(prompt, **options) as stream:  # a stream, because only it has a time to the first token
        answer = stream.answer()
    print(json.dumps(answer_fields(answer), ensure_ascii=False))  # noqa: T201 - the command's result


def _print_text(client: Client, command: GenerateCommand) -> None:
    prompt, options = _request(client, command)
    with client.stream(prompt, **options) as stream:
        for piece in stream.text:
            sys.stdout.write(piece)
            sys.stdout.flush()
        sys.stdout.write("\n")
        for choice in stream.answer().choices[1:]:
            sys.stdout.write(f"\n{choice.text}\n")
        if sys.stderr.isatty():
            print(f"\x1b[2m{figures(stream.answer())}\x1b[0m", file=sys.stderr)  # noqa: T201


def answer_fields(answer: Answer) -> dict[str, Any]:
    """The answer as one JSON object."""
    return {
        "text": answer.text,
        "token_ids": answer.token_ids,
        "finish_reason": answer.finish_reason,
        "usage": asdict(answer.usage),
        "prompt_tokens": answer.usage.prompt_tokens,
        "timings": asdict(answer.timings),
        "model": answer.model,
        "model_revision": answer.model_revision,
        "replica": answer.replica,
        "routing_reason": answer.routing_reason,
        "cache": asdict(answer.cache),
        "sampling": asdict(answer.sampling),
        "request_id": answer.request_id,
        "trace_id": answer.trace_id,
        "num_resumed": answer.num_resumed,
        "is_exact_continuation": answer.is_exact_continuation,
        "choices": [_choice_fields(choice) for choice in answer.choices],
        "prompt_logprobs": [asdict(token) for token in answer.prompt_logprobs],
    }


def _choice_fields(choice: Choice) -> dict[str, Any]:
    return {
        "text": choice.text,
        "token_ids": choice.token_ids,
        "logprobs": [asdict(token) for token in choice.logprobs],
        "finish_reason": choice.finish_reason,
        "stop_string": choice.stop_string,
        "stop_token_id": choice.stop_token_id,
    }


def figures(answer: Answer) -> str:
    """What a person wants to know of an answer, in one line."""
    parts = [f"{answer.usage.completion_tokens} tokens", str(answer.finish_reason)]
    if answer.timings.time_to_first_token_s is not None:
        parts.append(f"first token {answer.timings.time_to_first_token_s * 1e3:.0f} ms")
    if answer.timings.total_s is not None:
        parts.append(f"total {answer.timings.total_s * 1e3:.0f} ms")
    parts.append(f"{answer.model} on {answer.replica}" if answer.replica else answer.model)
    return " · ".join(parts + cache_words(answer.cache))


def _request(client: Client, command: GenerateCommand) -> tuple[str | None, GenerationOptions]:
    options = cast("GenerationOptions", {**command.sampling, **command.constraint, **command.cache})
    options["return_token_ids"] = command.returns_token_ids
    if command.model is not None:
        options["model"] = command.model
    if command.adapter is not None:
        options["adapter"] = command.adapter
    if command.is_raw or not _has_template(client, command.model):
        return command.prompt, options
    options["messages"] = [{"role": "user", "content": command.prompt}]
    return None, options


def _has_template(client: Client, model: str | None) -> bool:
    models = [found for found in client.list_models() if model in (None, found.name)]
    return len(models) == 1 and models[0].has_chat_template
