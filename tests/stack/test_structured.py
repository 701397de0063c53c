"""Structured output on the running stack: the embedded model, bound to a form."""

import json
import os
import signal

import jsonschema
from stack.running import RunningStack

from penstock.fleet.v1 import fleet_pb2

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 12},
        "size": {"enum": ["small", "large"]},
        "years": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 2100}, "maxItems": 3},
    },
    "required": ["city", "size", "years"],
    "additionalProperties": False,
}


def test_command_line_prints_json_of_a_schema(stack: RunningStack) -> None:
    """From a flag through gateway and replica to the last brace."""
    run = stack.cli("generate", "Name a city.", "--json-schema", json.dumps(SCHEMA), "--temperature", "1", "--json")
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout)
    assert answer["finish_reason"] == "stop"
    jsonschema.validate(json.loads(answer["text"]), SCHEMA)


def test_bad_schema_is_one_line_that_names_its_field(stack: RunningStack) -> None:
    """And it is refused before a model is asked."""
    run = stack.cli("generate", "Name a city.", "--json-schema", '{"type": "town"}')
    assert run.returncode == 1
    assert run.stderr.startswith("error: request.constraint.json_schema: got ")
    assert "Invalid type: town" in run.stderr


def test_constrained_stream_outlives_its_replica(stack: RunningStack) -> None:
    """Another replica takes up grammar and random numbers where the first one left them."""
    stack.wait_for_replicas(lambda replicas: all(r.state == fleet_pb2.REPLICA_STATE_READY for r in replicas))
    options = {"regex": "([a-z]{2,9} ){300}", "max_tokens": 400, "temperature": 1.0, "seed": 7, "cache": "bypass"}
    options |= {"return_token_ids": True}
    with stack.client() as client:
        undisturbed = client.generate("Once", **options)
        with client.stream("Once", **options) as stream:
            started = next(stream)
            victim = next(replica for replica in stack.replicas() if replica.replica_id == started.replica)
            next(stream)
            os.kill(victim.pid, signal.SIGKILL)
            resumed = stream.answer()
    assert (resumed.num_resumed, resumed.finish_reason) == (1, "length")
    assert resumed.token_ids == undisturbed.token_ids
