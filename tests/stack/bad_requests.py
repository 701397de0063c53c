"""Requests that must be refused, each with what its one error says. The list of what callers get wrong."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc

from penstock.inference.v1 import inference_pb2
from penstock.types.v1 import types_pb2

_INVALID = grpc.StatusCode.INVALID_ARGUMENT
_MEGABYTE = 1 << 20
_VOCAB_SIZE = 2048
_CONTEXT = 1024
_INFINITE = (math.nan, math.inf, -math.inf)


@dataclass(frozen=True, slots=True)
class BadRequest:
    """A request and its error.

    Attributes:
        name: of the case.
        request: what is sent.
        code: of the error.
        words: what its message holds, value and bound among them.
        field: that the error names in its details; None: the code has no field.
    """

    name: str
    request: inference_pb2.GenerationRequest
    code: grpc.StatusCode
    words: tuple[str, ...]
    field: str | None = None


def bad_requests() -> Iterator[BadRequest]:
    """All of them."""
    yield from _models()
    yield from _inputs()
    yield from _chats()
    yield from _cache_policies()
    yield from _constraints()
    yield from _unimplemented()
    yield _criticality()
    for name, values in SAMPLING_CASES.items():
        for index, (value, words) in enumerate(values):
            yield _sampling(f"{name}-{index}", name, value, words)


# Field of SamplingParams -> values out of its range, each with what the error says of value and bound.
SAMPLING_CASES: dict[str, tuple[tuple[Any, str], ...]] = {
    "temperature": tuple((value, f"got {value}; allowed: in [0, 2]") for value in (-0.001, 2.001, *_INFINITE)),
    "top_p": tuple((value, f"got {value}; allowed: in (0, 1]") for value in (0.0, -0.5, 1.001, *_INFINITE)),
    "top_k": tuple((value, f"got {value}; allowed: at least 0") for value in (-1, -(2**31))),
    "min_p": tuple((value, f"got {value}; allowed: in [0, 1]") for value in (-0.001, 1.001, *_INFINITE)),
    "repetition_penalty": tuple(
        (value, f"got {value}; allowed: in (0, 10]") for value in (0.0, -1.0, 10.001, *_INFINITE)
    ),
    "presence_penalty": tuple((value, f"got {value}; allowed: in [-2, 2]") for value in (-2.001, 2.001, *_INFINITE)),
    "frequency_penalty": tuple((value, f"got {value}; allowed: in [-2, 2]") for value in (-2.001, 2.001, *_INFINITE)),
    "seed": (),  # every number is one
    "n": tuple((value, f"got {value}; allowed: in [1, 16]") for value in (0, -1, 17, 2**31 - 1)),
    "max_tokens": tuple((value, f"got {value}; allowed: in [1, 4096]") for value in (0, -1, 4097, 2**31 - 1)),
    "min_tokens": tuple((value, f"got {value}; allowed: in [0, 4096]") for value in (-1, 4097, 2**31 - 1)),
    "stop": (
        (["x"] * 17, "got '17 entries'; allowed: at most 16 entries"),
        (["x" * 200] * 10_000, "got '10000 entries'; allowed: at most 16 entries"),
        ([""], "got '0 bytes'; allowed: in [1, 256] bytes"),
        (["ok", "é" * 129], "got '258 bytes'; allowed: in [1, 256] bytes"),
    ),
    "stop_token_ids": (
        ([_VOCAB_SIZE], f"got {_VOCAB_SIZE}; allowed: ids below {_VOCAB_SIZE}"),
        ([1, 2**32 - 1], f"got {2**32 - 1}; allowed: ids below {_VOCAB_SIZE}"),
        ([1] * 65, "got '65 entries'; allowed: at most 64 entries"),
    ),
    "logit_bias": (
        ({_VOCAB_SIZE: 1.0}, f"got {_VOCAB_SIZE}; allowed: ids below {_VOCAB_SIZE}"),
        ({2**32 - 1: 1.0}, f"got {2**32 - 1}; allowed: ids below {_VOCAB_SIZE}"),
        ({1: 100.5}, "got 100.5; allowed: in [-100, 100]"),
        ({1: -100.5}, "got -100.5; allowed: in [-100, 100]"),
        *(({1: value}, f"got {value}; allowed: in [-100, 100]") for value in _INFINITE),
        (dict.fromkeys(range(1025), 0.0), "got '1025 entries'; allowed: at most 1024 entries"),
        (dict.fromkeys(range(30_000), 1.0), "got '30000 entries'; allowed: at most 1024 entries"),
    ),
    "logprobs": tuple((value, f"got {value}; allowed: in [0, 20]") for value in (-1, 21, 2**31 - 1)),
    "prompt_logprobs": tuple((value, f"got {value}; allowed: in [0, 20]") for value in (-1, 21, 2**31 - 1)),
    "ignore_eos": (),  # true or false
}
# Where the error names an item of the field.
_ITEMS = {"stop-2": "[0]", "stop-3": "[1]", **{f"logit_bias-{index}": "[1]" for index in range(2, 7)}}


def _sampling(case: str, field: str, value: Any, words: str) -> BadRequest:
    sampling = types_pb2.SamplingParams(**{field: value})
    request = inference_pb2.GenerationRequest(input=_text("Once"), sampling=sampling)
    return BadRequest(case, request, _INVALID, (words,), f"request.sampling.{field}{_ITEMS.get(case, '')}")


def _criticality() -> BadRequest:
    request = inference_pb2.GenerationRequest(input=_text("Once"), criticality=99)
    return BadRequest("criticality", request, _INVALID, ("got 99; allowed: 1 (SHEDDABLE), 2",), "request.criticality")


def _models() -> Iterator[BadRequest]:
    for name, model in {
        "unknown": "gpt-9",
        "path": "../../etc/passwd",
        "huge": "m" * _MEGABYTE,
        "control characters": "a\x00\n\x1b[31m",
    }.items():
        request = inference_pb2.GenerationRequest(model=model, input=_text("Once"))
        yield BadRequest(
            f"model {name}", request, grpc.StatusCode.NOT_FOUND, (repr(model)[:70], "there is: pocket"), "request.model"
        )


def _inputs() -> Iterator[BadRequest]:
    def case(name: str, given: inference_pb2.Input, words: tuple[str, ...], field: str) -> BadRequest:
        request = inference_pb2.GenerationRequest(input=given)
        return BadRequest(f"input {name}", request, _INVALID, words, field)

    yield case("missing", inference_pb2.Input(), ("exactly one of text, token_ids and chat",), "request.input")
    yield case("empty text", _text(""), ("got 'nothing'; allowed: at least one",), "request.input.text")
    yield case("no token", _ids([]), ("got '0 tokens'; allowed: at least 1 token",), "request.input.token_ids.ids")
    yield case(
        "over the context", _text("word " * 5000), (f"at most {_CONTEXT - 1} tokens", "tokens'"), "request.input"
    )
    yield case(
        "10 MB",
        _text("a" * 10 * _MEGABYTE),
        ("got '10485760 bytes'; allowed: at most 1048576 bytes",),
        "request.input.text",
    )
    yield case(
        "token ids over the context",
        _ids([1] * 1_000_000),
        ("got '1000000 tokens'", f"at most {_CONTEXT - 1} tokens"),
        "request.input.token_ids.ids",
    )
    yield case(
        "7,000,000 token ids",
        _ids([1] * 7_000_000),
        ("got '7000000 entries'; allowed: at most 1048576 entries",),
        "request.input.token_ids.ids",
    )
    for token_id in (_VOCAB_SIZE, 2**32 - 1):
        yield case(
            f"token id {token_id}",
            _ids([1, token_id, 2]),
            (f"got {token_id}; allowed: ids below {_VOCAB_SIZE}",),
            "request.input.token_ids.ids",
        )


def _chats() -> Iterator[BadRequest]:
    def case(name: str, chat: inference_pb2.Chat, words: tuple[str, ...], field: str) -> BadRequest:
        request = inference_pb2.GenerationRequest(input=inference_pb2.Input(chat=chat))
        return BadRequest(f"chat {name}", request, _INVALID, words, f"request.input.chat.{field}")

    yield case("empty", inference_pb2.Chat(), ("got 'nothing'; allowed: at least one",), "messages")
    yield case(
        "10,000 messages",
        inference_pb2.Chat(messages=[_user("Hi")] * 10_000),
        ("got '10000 entries'; allowed: at most 2048 entries",),
        "messages",
    )
    many = inference_pb2.Chat(messages=[types_pb2.ChatMessage()] * 90_000)
    yield case("90,000 messages", many, ("got '90000 entries'; allowed: at most 2048 entries",), "messages")
    for field in ("role", "content", "tool_call_id", "name"):
        message = _user("Hi")
        setattr(message, field, "x" * 2 * _MEGABYTE)
        yield case(
            f"2 MB {field}",
            inference_pb2.Chat(messages=[message]),
            ("bytes'; allowed: at most 1048576 bytes",),
            "messages",
        )
    for name, schema in {
        "deep": '{"a":' * 100_000 + "1" + "}" * 100_000,
        "deep and unclosed": "[" * 500_000,
        "no JSON": "{'a': 1}",
        "no object": "[1]",
        "NaN": '{"a": NaN}',
    }.items():
        tools = [types_pb2.Tool(name="f", parameters_json_schema=schema)]
        chat = inference_pb2.Chat(messages=[_user("Hi")], tools=tools)
        yield case(f"schema {name}", chat, ("got ", "a JSON object"), "tools[0].parameters_json_schema")
        calls = [types_pb2.ToolCall(id="1", name="f", arguments_json=schema)]
        turn = types_pb2.ChatMessage(role="assistant", content="", tool_calls=calls)
        chat = inference_pb2.Chat(messages=[_user("Hi"), turn])
        yield case(f"arguments {name}", chat, ("got ", "a JSON object"), "messages[1].tool_calls[0].arguments_json")
    half = [types_pb2.Tool(name="f", parameters_json_schema='{"a": "\\ud800"}')]
    chat = inference_pb2.Chat(messages=[_user("Hi")], tools=half)
    yield case("half a surrogate pair", chat, ("got 'half a surrogate pair'; allowed: valid Unicode",), "messages")
    robot = types_pb2.ChatMessage(role="robot", content="Hi")
    yield case("unknown role", inference_pb2.Chat(messages=[robot]), ("Only the roles system, user",), "messages")


def _cache_policies() -> Iterator[BadRequest]:
    def case(name: str, policy: inference_pb2.CachePolicy, words: str, field: str) -> BadRequest:
        request = inference_pb2.GenerationRequest(input=_text("Once"), cache=policy)
        return BadRequest(f"cache {name}", request, _INVALID, (words,), f"request.cache.{field}")

    for seconds in (0, -1, 90 * 24 * 60 * 60 + 1, 2**63 - 1, -(2**63)):
        policy = inference_pb2.CachePolicy(ttl={"seconds": seconds})
        yield case(f"ttl {seconds}", policy, "allowed: in (0, 7.776e+06] s", "ttl")
    yield case(
        "tags", inference_pb2.CachePolicy(tags=["a"] * 10_000), "got '10000 entries'; allowed: at most 16", "tags"
    )
    yield case("NUL", inference_pb2.CachePolicy(tags=["a\0"]), "allowed: text without NUL characters", "tags[0]")
    yield case("tag", inference_pb2.CachePolicy(tags=["a", ""]), "got '0 bytes'; allowed: in [1, 128] bytes", "tags[1]")
    for rate in (-0.001, 1.001, *_INFINITE):
        policy = inference_pb2.CachePolicy(max_error_rate=rate)
        yield case(f"error rate {rate}", policy, f"got {rate}; allowed: in [0, 1]", "max_error_rate")
    yield case("scope", inference_pb2.CachePolicy(scope="s" * 257), "got '257 bytes'; allowed: in [1, 256]", "scope")


def _constraints() -> Iterator[BadRequest]:
    """Wrong, too large, or made to keep their compiler busy."""

    def case(name: str, field: str, value: Any, words: str) -> BadRequest:
        given = {"choice": {"options": value}} if field == "choice.options" else {field: value}
        request = inference_pb2.GenerationRequest(input=_text("Once"), constraint=types_pb2.Constraint(**given))
        return BadRequest(f"constraint {name}", request, _INVALID, (words,), f"request.constraint.{field}")

    over = "bytes'; allowed: at most 65536 bytes"
    slow = "it takes more than 0.25 s to compile"
    yield case("empty schema", "json_schema", "", "got ''; allowed: at least 1 byte")
    yield case("schema no JSON", "json_schema", "{'a': 1}", "a JSON schema as JSON text")
    yield case("schema no object", "json_schema", "[1]", "a JSON object, true or false")
    yield case("schema unknown type", "json_schema", '{"type": "foo"}', "it says: Invalid type: foo")
    yield case("schema unknown key", "json_schema", '{"not": {}}', 'it says: Unimplemented keys: ["not"]')
    yield case("schema elsewhere", "json_schema", '{"$ref": "http://127.0.0.1/a"}', "does not fetch")
    yield case("schema of nothing", "json_schema", "false", "it says: Unsatisfiable schema")
    deep = '{"items":' * 5000 + "{}" + "}" * 5000
    yield case("deep schema", "json_schema", deep, "got 'a deeper schema'; allowed: at most 64 levels")
    yield case("15 MB schema", "json_schema", "x" * 15 * _MEGABYTE, over)
    loops = json.dumps({"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}] * 1000}}, "$ref": "#/$defs/a"})
    yield case("schema of loops", "json_schema", loops, "it says: ")
    yield case("slow schema", "json_schema", '{"type": "integer", "multipleOf": 1000003}', slow)
    yield case("regex", "regex", "(", "it says: unclosed group")
    yield case("regex look-ahead", "regex", "(?=a)b", "it says: look-around")
    yield case("nested regex", "regex", "(" * 1000 + "a+" + ")+" * 1000 + "$", "it says: exceed the maximum number")
    yield case("15 MB regex", "regex", "(" * 15 * _MEGABYTE, over)
    yield case("grammar", "grammar", "start: x", 'it says: at 1(8): unknown name: "x"')
    yield case("grammar twice", "grammar", 'start: start start | "a"\n' * 1000, "it says: at 2(8): duplicate rule")
    doubling = "start: R0\n" + "".join(f"R{i}: R{i + 1} R{i + 1}\n" for i in range(30)) + 'R30: "a"\n'
    yield case("slow grammar", "grammar", doubling, slow)
    yield case("15 MB grammar", "grammar", "x" * 15 * _MEGABYTE, over)
    yield case("no choices", "choice.options", [], "got '0 entries'; allowed: at least 1 entry")
    yield case("90,000 choices", "choice.options", ["yes"] * 90_000, "got '90000 entries'; allowed: at most 1024")
    yield case("large choices", "choice.options", ["x" * 1000] * 1000, over)


def _unimplemented() -> Iterator[BadRequest]:
    """Refused by their names alone."""
    request = inference_pb2.GenerationRequest(input=_text("Once"), echo=True)
    yield BadRequest("echo", request, grpc.StatusCode.UNIMPLEMENTED, ("echo is not available in this version",))
    path = "../../etc/passwd"
    request = inference_pb2.GenerationRequest(input=_text("Once"), adapter=path)
    yield BadRequest("adapter", request, grpc.StatusCode.NOT_FOUND, (f"no adapter '{path}'",), "request.adapter")


def _text(text: str) -> inference_pb2.Input:
    return inference_pb2.Input(text=text)


def _ids(ids: list[int]) -> inference_pb2.Input:
    return inference_pb2.Input(token_ids=inference_pb2.TokenIds(ids=ids))


def _user(content: str) -> types_pb2.ChatMessage:
    return types_pb2.ChatMessage(role="user", content=content)
