"""`penstock embed` against a scripted gateway over real gRPC."""

import json

from fakes.command_line import Cli
from fakes.inference_server import ScriptedInference

from penstock.inference.v1 import inference_pb2


def test_each_text_is_one_line(cli: Cli, server: ScriptedInference) -> None:
    """So that the output can be read line by line."""
    ran = cli("embed", "abc", "de", "--address", server.address)
    assert (ran.code, ran.out, ran.err) == (0, "[3.0, 0.5]\n[2.0, 0.5]\n", "")


def test_options_reach_the_server_and_json_has_the_usage(cli: Cli, server: ScriptedInference) -> None:
    """Each flag means its field."""
    flags = ["--pooling", "mean", "--normalize", "--model", "pocket", "--json"]
    ran = cli("embed", "abc", *flags, "--address", server.address)
    usage = {"prompt_tokens": 3, "completion_tokens": 0, "cached_prompt_tokens": 0}
    assert json.loads(ran.out) == {"embeddings": [[3.0, 0.5]], "usage": usage}
    (seen,) = server.calls("Embed")
    assert seen.request == inference_pb2.EmbedRequest(
        model="pocket",
        inputs=[inference_pb2.Input(text="abc")],
        pooling=inference_pb2.POOLING_MEAN,
        normalize=True,
    )


def test_nothing_listening_says_how_to_start(cli: Cli, closed_port: int) -> None:
    """As every command does."""
    ran = cli("embed", "abc", "--address", f"127.0.0.1:{closed_port}")
    assert (ran.code, ran.err) == (3, f"error: no gateway at 127.0.0.1:{closed_port}; start one with `penstock up`\n")
