"""TokenizerService over real loopback gRPC."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from fakes.chat_templates import CHATML, TOOLS
from fakes.tokenizer_dirs import byte_level_bpe, unigram_with_byte_fallback, word_piece, write_tokenizer_dir

from penstock.tokenizer.v1 import tokenizer_pb2, tokenizer_pb2_grpc
from penstock.types.v1 import types_pb2
from penstock_shared.channels import open_channel
from penstock_shared.server import GrpcServer
from penstock_shared.tracing import Tracer
from penstock_tokenizer.catalog import Catalog, fingerprints_of
from penstock_tokenizer.cpu_pool import CpuPool
from penstock_tokenizer.limits import RequestLimits
from penstock_tokenizer.rendering.pool import RenderPool
from penstock_tokenizer.service import TokenizerServicer

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = RequestLimits(max_texts=4, max_text_bytes=2000, max_token_ids=100, max_messages=4, max_open_outputs=2)
Stub = tokenizer_pb2_grpc.TokenizerServiceStub
ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The served checkpoints."""
    root = tmp_path_factory.mktemp("models")
    return {
        "chat": write_tokenizer_dir(root / "chat", byte_level_bpe(), template=CHATML),
        "tools": write_tokenizer_dir(root / "tools", byte_level_bpe(), template=TOOLS),
        "plain": write_tokenizer_dir(root / "plain", unigram_with_byte_fallback()),
        "words": write_tokenizer_dir(root / "words", word_piece()),
        "endless": write_tokenizer_dir(root / "endless", byte_level_bpe(), template=ENDLESS),
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stub(directories: dict[str, Path], render_pool: RenderPool) -> AsyncIterator[Stub]:
    """A client of a served catalog."""
    async with _serving(directories, render_pool) as address:
        channel = open_channel(address, credential=None, tracer=Tracer("test"))
        yield Stub(channel)
        await channel.close()


@asynccontextmanager
async def _serving(directories: dict[str, Path], render_pool: RenderPool) -> AsyncIterator[str]:
    service = "penstock.tokenizer.v1.TokenizerService"
    server = GrpcServer(bind="127.0.0.1:0", service_names=[service], tracer=Tracer("test"))
    catalog = Catalog(lambda: server.set_serving(True))
    cpu_pool = CpuPool(num_threads=2, max_pending=64)
    servicer = TokenizerServicer(catalog, cpu_pool, render_pool, LIMITS)
    tokenizer_pb2_grpc.add_TokenizerServiceServicer_to_server(servicer, server.server)
    port = await server.start()
    await catalog.load_fixed(directories)
    yield f"127.0.0.1:{port}"
    await server.drain(0)
    cpu_pool.close()


def messages(*turns: tuple[str, str]) -> list[types_pb2.ChatMessage]:
    """Chat messages of role and content."""
    return [types_pb2.ChatMessage(role=role, content=content) for role, content in turns]


async def encode(stub: Stub, model: str, *texts: str, **options: bool) -> list[list[int]]:
    """The ids of each text."""
    response = await stub.Encode(tokenizer_pb2.EncodeRequest(model=model, texts=texts, **options))
    return [list(sequence.ids) for sequence in response.sequences]


async def test_what_is_encoded_can_be_decoded(stub: Stub, directories: dict[str, Path]) -> None:
    """The two must be each other's reverse, text by text."""
    texts = ["The capital", "", "größer 日本語 😀"]
    response = await stub.Encode(tokenizer_pb2.EncodeRequest(model="chat", texts=texts))
    assert response.tokenizer_fingerprint == fingerprints_of(directories["chat"]).tokenizer
    decoded = await stub.Decode(tokenizer_pb2.DecodeRequest(model="chat", sequences=response.sequences))
    assert list(decoded.texts) == texts


async def test_options_of_encoding_are_honoured(stub: Stub) -> None:
    """A missing beginning-of-sequence token, or one too many, makes a model worse without any error."""
    (bare,), (marked,) = [await encode(stub, "plain", "the", add_special_tokens=flag) for flag in (False, True)]
    assert marked == [1, *bare]
    (text,), (control,) = [await encode(stub, "chat", "</s>", allow_control_tokens=flag) for flag in (False, True)]
    assert (len(text) > 1, len(control)) == (True, 1)


async def test_special_tokens_are_left_out_on_request(stub: Stub) -> None:
    """Logs want them, users do not."""
    (ids,) = await encode(stub, "chat", "x</s>", allow_control_tokens=True)
    sequences = [tokenizer_pb2.TokenSequence(ids=ids)]
    texts = [
        (
            await stub.Decode(tokenizer_pb2.DecodeRequest(model="chat", sequences=sequences, skip_special_tokens=flag))
        ).texts
        for flag in (False, True)
    ]
    assert [list(text) for text in texts] == [["x</s>"], ["x"]]


async def test_a_chat_is_rendered_and_encoded(stub: Stub, directories: dict[str, Path]) -> None:
    """The path of every chat request."""
    request = tokenizer_pb2.RenderChatRequest(
        model="chat", messages=messages(("user", "hi")), add_generation_prompt=True, return_text=True
    )
    response = await stub.RenderChat(request)
    text = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert response.text == text
    assert list(response.tokens.ids) == (await encode(stub, "chat", text, allow_control_tokens=True))[0]
    assert response.template_fingerprint == fingerprints_of(directories["chat"]).template


async def test_tools_and_calls_reach_the_template_parsed(stub: Stub) -> None:
    """Templates walk through schema and arguments."""
    call = types_pb2.ToolCall(id="1", name="add", arguments_json='{"a": "é"}')
    tool = types_pb2.Tool(name="add", description="Adds.", parameters_json_schema='{"type": "object"}')
    turns = [*messages(("user", "1+1?")), types_pb2.ChatMessage(role="assistant", tool_calls=[call])]
    request = tokenizer_pb2.RenderChatRequest(model="tools", messages=turns, tools=[tool], return_text=True)
    text = (await stub.RenderChat(request)).text
    function = '{"name": "add", "description": "Adds.", "parameters": {"type": "object"}}'
    assert f'{{"type": "function", "function": {function}}}' in text
    assert '<tool_call>\n{"name": "add", "arguments": {"a": "é"}}\n</tool_call>' in text


async def test_the_vocabulary_decodes_what_was_encoded(stub: Stub, directories: dict[str, Path]) -> None:
    """The gateway decodes with nothing else."""
    responses = [r async for r in stub.GetVocabulary(tokenizer_pb2.GetVocabularyRequest(model="plain"))]
    header = responses[0].header
    entries = [entry for response in responses for entry in response.entries]
    assert (header.num_entries, header.strips_leading_space) == (len(entries), True)
    assert header.tokenizer_fingerprint == fingerprints_of(directories["plain"]).tokenizer
    (ids,) = await encode(stub, "plain", "the capital 😁", add_special_tokens=True)
    assert b"".join(entries[i].bytes for i in ids if not entries[i].is_special) == " the capital 😁".encode()


async def test_a_vocabulary_that_no_table_expresses_is_refused(stub: Stub) -> None:
    """The caller then uses Detokenize."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        _ = [r async for r in stub.GetVocabulary(tokenizer_pb2.GetVocabularyRequest(model="words"))]
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_detokenize_decodes_several_outputs_in_turn(stub: Stub) -> None:
    """One stream serves all outputs of a gateway's session; each has a state of its own."""
    texts = {7: "the capital is", 9: "paris , isn ' t it"}
    ids = {output_id: (await encode(stub, "words", text))[0] for output_id, text in texts.items()}
    requests = [
        tokenizer_pb2.DetokenizeRequest(
            model="words", output_id=output_id, token_ids=[token_id], is_last=index == len(ids[output_id]) - 1
        )
        for index in range(max(map(len, ids.values())))
        for output_id in ids
        for token_id in ids[output_id][index : index + 1]
    ]
    outputs = dict.fromkeys(texts, "")
    async for response in stub.Detokenize(_each(requests)):
        outputs[response.output_id] += response.text
    for output_id, output in outputs.items():
        sequence = tokenizer_pb2.TokenSequence(ids=ids[output_id])
        whole = await stub.Decode(Decode(model="words", sequences=[sequence], skip_special_tokens=True))
        assert output == whole.texts[0]


async def test_detokenize_answers_every_request(stub: Stub) -> None:
    """The caller pairs answers with requests; an empty text is an answer too."""
    half = (await encode(stub, "chat", "😁"))[0][:-1]
    requests = [
        tokenizer_pb2.DetokenizeRequest(model="chat", output_id=1, token_ids=half),
        tokenizer_pb2.DetokenizeRequest(output_id=1, is_last=True),
    ]
    assert [response.text async for response in stub.Detokenize(_each(requests))] == ["", "\ufffd"]


async def test_an_output_that_has_ended_makes_room(stub: Stub) -> None:
    """A session lasts for days and carries any number of outputs, one after the other."""
    requests = [tokenizer_pb2.DetokenizeRequest(model="chat", output_id=i, is_last=True) for i in range(5)]
    assert [response.output_id async for response in stub.Detokenize(_each(requests))] == [0, 1, 2, 3, 4]


def _each(requests: Sequence[tokenizer_pb2.DetokenizeRequest]) -> Iterator[tokenizer_pb2.DetokenizeRequest]:
    return iter(requests)


Encode, Decode, Render = tokenizer_pb2.EncodeRequest, tokenizer_pb2.DecodeRequest, tokenizer_pb2.RenderChatRequest
USER = messages(("user", "hi"))
BAD_CALL = types_pb2.ToolCall(name="f", arguments_json="[1]")
INVALID = {
    "too many texts": ("Encode", Encode(model="chat", texts=["a"] * 5), "texts"),
    "too much text": ("Encode", Encode(model="chat", texts=["é" * 600, "é" * 600]), "texts"),
    "too many sequences": ("Decode", Decode(model="chat", sequences=[tokenizer_pb2.TokenSequence()] * 5), "sequences"),
    "too many ids": (
        "Decode",
        Decode(model="chat", sequences=[tokenizer_pb2.TokenSequence(ids=[1] * 101)]),
        "sequences",
    ),
    "an id beyond the vocabulary": (
        "Decode",
        Decode(model="chat", sequences=[tokenizer_pb2.TokenSequence(), tokenizer_pb2.TokenSequence(ids=[9999])]),
        "sequences[1].ids",
    ),
    "no messages": ("RenderChat", Render(model="chat"), "messages"),
    "too many messages": ("RenderChat", Render(model="chat", messages=USER * 5), "messages"),
    "too large a chat": ("RenderChat", Render(model="chat", messages=messages(("user", "x" * 2000))), "messages"),
    "two ends": (
        "RenderChat",
        Render(model="chat", messages=USER, add_generation_prompt=True, continue_final_message=True),
        "continue_final_message",
    ),
    "arguments that are no object": (
        "RenderChat",
        Render(model="chat", messages=[types_pb2.ChatMessage(role="assistant", tool_calls=[BAD_CALL])]),
        "messages[0].tool_calls[0].arguments_json",
    ),
    "a schema that is no JSON": (
        "RenderChat",
        Render(model="chat", messages=USER, tools=[types_pb2.Tool(name="f", parameters_json_schema='{"a": NaN}')]),
        "tools[0].parameters_json_schema",
    ),
    "nesting without end": (
        "RenderChat",
        Render(model="chat", messages=USER, tools=[types_pb2.Tool(parameters_json_schema="[" * 1900)]),
        "tools[0].parameters_json_schema",
    ),
}


@pytest.mark.parametrize(("method", "request_message", "field"), INVALID.values(), ids=INVALID.keys())
async def test_a_bad_field_is_named(stub: Stub, method: str, request_message: object, field: str) -> None:
    """The caller mends it without guessing."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await getattr(stub, method)(request_message)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (caught.value.details() or "").startswith(f"{field}: got ")


@pytest.mark.parametrize("method", ["Encode", "Decode", "RenderChat", "GetVocabulary", "Detokenize"])
async def test_an_unknown_model_is_not_found(stub: Stub, method: str) -> None:
    """The same answer from every method."""
    calls = {
        "Encode": lambda: stub.Encode(Encode(model="x")),
        "Decode": lambda: stub.Decode(Decode(model="x")),
        "RenderChat": lambda: stub.RenderChat(Render(model="x", messages=USER)),
        "GetVocabulary": lambda: stub.GetVocabulary(tokenizer_pb2.GetVocabularyRequest(model="x")).read(),
        "Detokenize": lambda: stub.Detokenize(_each([tokenizer_pb2.DetokenizeRequest(model="x")])).read(),
    }
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await calls[method]()
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("request_message", "field"),
    [
        (tokenizer_pb2.DetokenizeRequest(output_id=3), "output_id"),
        (tokenizer_pb2.DetokenizeRequest(output_id=1, token_ids=[9999]), "token_ids"),
        (tokenizer_pb2.DetokenizeRequest(output_id=1, model="plain"), "model"),
    ],
)
async def test_detokenize_bounds_what_a_stream_holds(
    stub: Stub, request_message: tokenizer_pb2.DetokenizeRequest, field: str
) -> None:
    """A caller that never ends its outputs must not fill the service."""
    opened = [tokenizer_pb2.DetokenizeRequest(model="chat", output_id=output_id) for output_id in (1, 2)]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        _ = [r async for r in stub.Detokenize(_each([*opened, request_message]))]
    assert (caught.value.details() or "").startswith(f"{field}: got ")


async def test_others_are_answered_while_a_template_hangs(stub: Stub) -> None:
    """One hostile checkpoint costs its own callers an error, and nobody else anything."""
    hanging = asyncio.ensure_future(stub.RenderChat(Render(model="endless", messages=USER)))
    answers = [await stub.RenderChat(Render(model="chat", messages=USER)) for _ in range(20)]
    assert {len(answer.tokens.ids) > 0 for answer in answers} == {True}
    assert not hanging.done()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await hanging
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "longer than 1 s" in (caught.value.details() or "")
