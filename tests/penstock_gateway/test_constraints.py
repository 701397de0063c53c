"""Constraints on their way through a whole gateway."""

import grpc
import pytest
from fakes.gateway_deployment import Deployment, collect

from penstock.types.v1 import types_pb2

SCHEMA = '{"type": "object", "properties": {"a": {"type": "integer"}}}'


@pytest.mark.parametrize(
    "constraint",
    [
        types_pb2.Constraint(json_schema=SCHEMA),
        types_pb2.Constraint(regex="a+"),
        types_pb2.Constraint(grammar='start: "a"'),
        types_pb2.Constraint(choice={"options": ["yes", "no"]}),
    ],
)
async def test_constraint_reaches_the_replica_as_it_was_sent(
    deployment: Deployment, constraint: types_pb2.Constraint
) -> None:
    """The replica applies it; the gateway only makes sure that it can."""
    await deployment.complete(constraint=constraint)
    assert deployment.workers[0].groups[0].constraint == constraint


async def test_bad_constraint_is_refused_before_anybody_generates(deployment: Deployment) -> None:
    """The error names the field and carries the compiler's words."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await deployment.complete(constraint=types_pb2.Constraint(regex="("))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert str(caught.value.details()) == (
        "request.constraint.regex: got '('; allowed: what llguidance compiles; it says: unclosed group"
    )
    assert deployment.workers[0].groups == []
    assert deployment.num_queued == 0


async def test_constraint_is_tried_while_the_prompt_is_tokenized(deployment: Deployment) -> None:
    """A bad one is known although the tokenizer has not answered yet; nothing of the request goes on."""
    deployment.tokenizer.gate.clear()
    call = deployment.generate(constraint=types_pb2.Constraint(regex="("))
    await deployment.until(lambda: "verdicts=1" in repr(deployment.gateway._constraints))
    deployment.tokenizer.gate.set()
    with pytest.raises(grpc.aio.AioRpcError, match="unclosed group"):
        await collect(call)
