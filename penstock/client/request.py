"""Builds request messages. A value that no message can hold raises `InvalidArgumentError` before anything is sent."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import grpc

from penstock.client.errors import InvalidArgumentError
from penstock.client.options import (
    CacheOptions,
    ConstraintOptions,
    EmbedOptions,
    GenerationOptions,
    InputOptions,
    JsonSchema,
    Message,
    SamplingOptions,
    Tool,
)
from penstock.inference.v1 import inference_pb2
from penstock.types.v1 import types_pb2

_CONSTRAINTS = ("json_schema", "regex", "grammar", "one_of")


def generation_request(prompt: str | None, options: GenerationOptions) -> inference_pb2.GenerationRequest:
    """The request for one generation.

    Raises:
        TypeError: an option does not exist, or not exactly one of prompt, messages and token_ids is given.
        InvalidArgumentError: a value has the wrong type, or does not fit its field.
    """
    _refuse_unknown(options, GenerationOptions)
    request = inference_pb2.GenerationRequest(
        model=options.get("model", ""),
        input=_input(prompt, options),
        sampling=_sampling(options),
        constraint=_constraint(options),
        cache=_cache(options),
        return_token_ids=options.get("return_token_ids", False),
        echo=options.get("echo", False),
    )
    if "adapter" in options:
        request.adapter = options["adapter"]
    if "criticality" in options:
        request.criticality = _criticality(options["criticality"])
    return request


def count_request(prompt: str | None, options: InputOptions) -> inference_pb2.CountTokensRequest:
    """The request to count the tokens of an input; errors as in `generation_request`."""
    _refuse_unknown(options, InputOptions)
    return inference_pb2.CountTokensRequest(model=options.get("model", ""), input=_input(prompt, options))


def embed_request(inputs: Sequence[str | Sequence[int]], options: EmbedOptions) -> inference_pb2.EmbedRequest:
    """The request for the vectors of texts or token ids; errors as in `generation_request`."""
    _refuse_unknown(options, EmbedOptions)
    if isinstance(inputs, str):
        raise TypeError("give a list of inputs, not one text")
    request = inference_pb2.EmbedRequest(
        model=options.get("model", ""),
        inputs=[_embed_input(given) for given in inputs],
        normalize=options.get("normalize", False),
    )
    if "pooling" in options:
        with _named("pooling", options["pooling"]):
            request.pooling = inference_pb2.Pooling.Value(f"POOLING_{options['pooling'].upper()}")
    if "criticality" in options:
        request.criticality = _criticality(options["criticality"])
    return request


def _embed_input(given: str | Sequence[int]) -> inference_pb2.Input:
    with _named("inputs", given):
        if isinstance(given, str):
            return inference_pb2.Input(text=given)
        return inference_pb2.Input(token_ids=inference_pb2.TokenIds(ids=given))


def _criticality(name: str) -> types_pb2.Criticality.ValueType:
    with _named("criticality", name):
        return types_pb2.Criticality.Value(f"CRITICALITY_{name.upper()}")


def _refuse_unknown(options: Mapping[str, object], known: type) -> None:
    unknown = sorted(options.keys() - known.__annotations__.keys())
    if unknown:
        allowed = ", ".join(sorted(known.__annotations__))
        raise TypeError(f"no such option: {', '.join(unknown)}; there are: {allowed}")


def _input(prompt: str | None, options: InputOptions) -> inference_pb2.Input:
    given = [prompt is not None, "messages" in options, "token_ids" in options]
    if sum(given) != 1:
        raise TypeError("give exactly one of: a prompt, messages, token_ids")
    if prompt is not None:
        with _named("prompt", prompt):
            return inference_pb2.Input(text=prompt)
    if "messages" in options:
        with _named("messages", options["messages"]):
            return inference_pb2.Input(chat=_chat(options))
    with _named("token_ids", options["token_ids"]):
        return inference_pb2.Input(token_ids=inference_pb2.TokenIds(ids=options["token_ids"]))


def _chat(options: InputOptions) -> inference_pb2.Chat:
    return inference_pb2.Chat(
        messages=[_message(message) for message in options["messages"]],
        tools=[_tool(tool) for tool in options.get("tools", ())],
    )


def _message(message: Message) -> types_pb2.ChatMessage:
    calls = [
        types_pb2.ToolCall(id=call["id"], name=call["name"], arguments_json=_json(call["arguments"]))
        for call in message.get("tool_calls", ())
    ]
    plain = {key: value for key, value in message.items() if key != "tool_calls"}
    return types_pb2.ChatMessage(tool_calls=calls, **plain)  # type: ignore[arg-type]  # names checked by protobuf


def _tool(tool: Tool) -> types_pb2.Tool:
    return types_pb2.Tool(
        name=tool["name"],
        description=tool.get("description", ""),
        parameters_json_schema=_json(tool["parameters"]) if "parameters" in tool else "",
    )


def _sampling(options: SamplingOptions) -> types_pb2.SamplingParams:
    sampling = types_pb2.SamplingParams()
    for name in SamplingOptions.__annotations__.keys() & options.keys():
        value: Any = options[name]  # type: ignore[literal-required]
        with _named(name, value):
            _assign(sampling, name, [value] if name == "stop" and isinstance(value, str) else value)
    return sampling


def _assign(message: Any, name: str, value: Any) -> None:
    if isinstance(value, Mapping):
        getattr(message, name).update(value)
    elif isinstance(value, (str, int, float)):
        setattr(message, name, value)
    else:
        getattr(message, name).extend(value)


def _constraint(options: ConstraintOptions) -> types_pb2.Constraint | None:
    given = [name for name in _CONSTRAINTS if name in options]
    if not given:
        return None
    if len(given) > 1:
        raise TypeError(f"give at most one of: {', '.join(_CONSTRAINTS)}")
    value: Any = options[given[0]]  # type: ignore[literal-required]
    with _named(given[0], value):
        match given[0]:
            case "one_of":
                return types_pb2.Constraint(choice=types_pb2.ChoiceConstraint(options=value))
            case "json_schema":
                return types_pb2.Constraint(json_schema=_json(value))
            case name:
                return types_pb2.Constraint(**{name: value})


def _cache(options: CacheOptions) -> inference_pb2.CachePolicy | None:
    if not CacheOptions.__annotations__.keys() & options.keys():
        return None
    policy = inference_pb2.CachePolicy(
        tags=options.get("cache_tags", ()),
        max_error_rate=options.get("cache_max_error_rate"),
        scope=options.get("cache_scope"),
    )
    mode = options.get("cache", "use")
    with _named("cache", mode):
        policy.mode = inference_pb2.CacheMode.Value(f"CACHE_MODE_{mode.upper()}")
    if "cache_ttl_s" in options:
        policy.ttl.FromNanoseconds(round(options["cache_ttl_s"] * 1e9))
    return policy


def _json(value: JsonSchema) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@contextmanager
def _named(field: str, value: object) -> Iterator[None]:
    """Turns protobuf's complaint about a value into one that names the field."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        message = f"{field}: got {value!r:.80}; {error}"
        raise InvalidArgumentError(
            grpc.StatusCode.INVALID_ARGUMENT, message, field=field, reason="INVALID_ARGUMENT"
        ) from error
