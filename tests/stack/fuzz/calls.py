"""Random calls, and what must be true of how each of them ends."""

import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import grpc
from hypothesis import strategies as st
from stack.fuzz.messages import messages
from stack.traffic import fields_of

from penstock.inference.v1 import inference_pb2

_SERVICE = inference_pb2.DESCRIPTOR.services_by_name["InferenceService"]
_LONG_S = 60.0
_SLACK_S = 60.0  # on a machine that does other things as well
_FLIP = 0xFF
_TOLD = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)


class Fate(StrEnum):
    """What the caller does with its call."""

    WAITS = "waits"
    IS_IMPATIENT = "is impatient"
    CANCELS = "cancels"
    MANGLES = "mangles"  # sends bytes that were a message


@dataclass(frozen=True)
class Call:
    """One call of a client.

    Attributes:
        rpc: its name.
        request: what is sent.
        fate: what the caller does with it.
        patience_s: its deadline, or when it is cancelled, in seconds.
        flips: places of the bytes that are changed where it is mangled.
    """

    rpc: str
    request: Any
    fate: Fate
    patience_s: float
    flips: tuple[int, ...] = ()

    @property
    def body(self) -> bytes:
        """The bytes that are sent."""
        body = bytearray(self.request.SerializeToString())
        for place in self.flips if body else ():
            body[place % len(body)] ^= _FLIP
        return bytes(body)


def calls() -> st.SearchStrategy[Call]:
    """Calls of all RPCs; most of them generate."""
    usual = st.sampled_from(["Generate", "Complete", "Generate", "Complete", "CountTokens"])
    return (usual | st.sampled_from([method.name for method in _SERVICE.methods])).flatmap(_calls_of)


def _calls_of(rpc: str) -> st.SearchStrategy[Call]:
    requests = messages(_SERVICE.methods_by_name[rpc].input_type)
    patience = st.floats(0.001, 0.5)
    return st.one_of(
        st.builds(Call, st.just(rpc), requests, st.just(Fate.WAITS), st.just(_LONG_S)),
        st.builds(Call, st.just(rpc), requests, st.just(Fate.WAITS), st.just(_LONG_S)),
        st.builds(Call, st.just(rpc), requests, st.just(Fate.IS_IMPATIENT), patience),
        st.builds(Call, st.just(rpc), requests, st.just(Fate.CANCELS), patience),
        st.builds(
            Call,
            st.just(rpc),
            requests,
            st.just(Fate.MANGLES),
            st.just(_LONG_S),
            st.lists(st.integers(0, 10_000), min_size=1, max_size=3).map(tuple),
        ),
    )


def make(call: Call, channel: grpc.Channel) -> grpc.StatusCode:
    """Makes a call, and gives its status.

    Raises:
        AssertionError: it did not end as a call must.
    """
    began = time.monotonic()
    try:
        events = _responses(call, channel)
        code = grpc.StatusCode.OK
    except grpc.RpcError as error:
        events, code = [], error.code()
        _check_error(call, error)
    except grpc.FutureTimeoutError:
        code, events = grpc.StatusCode.CANCELLED, []
    took_s = time.monotonic() - began
    assert took_s < call.patience_s + _SLACK_S, f"it took {took_s:.1f} s"
    if code is grpc.StatusCode.OK and call.rpc == "Generate":
        _check_stream(events)
    return code


def _responses(call: Call, channel: grpc.Channel) -> list[Any]:
    method = _SERVICE.methods_by_name[call.rpc]
    path = f"/{_SERVICE.full_name}/{call.rpc}"
    answer_class: Any = getattr(inference_pb2, method.output_type.name)
    is_cancelled = call.fate is Fate.CANCELS
    timeout_s = _LONG_S if is_cancelled else call.patience_s
    if not method.server_streaming:
        future = channel.unary_unary(path, response_deserializer=answer_class.FromString).future(
            call.body, timeout=timeout_s
        )
        return [_result(future, call.patience_s) if is_cancelled else future.result()]
    stream = channel.unary_stream(path, response_deserializer=answer_class.FromString)(call.body, timeout=timeout_s)
    leaving = threading.Timer(call.patience_s, stream.cancel)
    if is_cancelled:
        leaving.start()
    try:
        return list(stream)
    finally:
        leaving.cancel()


def _result(future: Any, patience_s: float) -> Any:
    try:
        return future.result(timeout=patience_s)
    finally:
        future.cancel()


def _check_error(call: Call, error: grpc.RpcError) -> None:
    code, told = error.code(), error.details() or ""
    if call.fate is Fate.CANCELS and code is grpc.StatusCode.CANCELLED:
        return
    assert code in _TOLD, f"{code.name}: {told}"
    assert len(told) < 600, told
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return
    assert told, code.name
    if code is grpc.StatusCode.INVALID_ARGUMENT and call.fate is not Fate.MANGLES:
        (field,) = fields_of(error)
        assert told.startswith(field), f"{field} is not named in: {told}"


def _check_stream(events: list[Any]) -> None:
    """Started first, final last, one end for each choice, and no text of a choice after its end."""
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[0] == "started", kinds
    assert kinds.count("started") == kinds.count("final") == 1, kinds
    assert kinds[-1] == "final", kinds
    ended: set[int] = set()
    for event in events:
        if event.HasField("delta"):
            assert event.delta.choice not in ended, "more of a choice that has ended"
        elif event.HasField("finished"):
            assert event.finished.choice not in ended, "a choice ended twice"
            ended.add(event.finished.choice)
    assert ended == set(range(events[0].started.sampling.n)), ended
