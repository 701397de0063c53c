"""Calls as a hostile or careless client makes them, and a look at what they leave behind."""

import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import psutil
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from stack.running import RunningStack

from penstock.inference.v1 import inference_pb2, inference_pb2_grpc

_PATIENCE_S = 120.0
_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@contextmanager
def stub_of(stack: RunningStack) -> Iterator[inference_pb2_grpc.InferenceServiceStub]:
    """A stub on a connection of its own, which sends messages of any size."""
    options = [*_UNLIMITED, ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(stack.gateway_address, options=options) as channel:
        yield inference_pb2_grpc.InferenceServiceStub(channel)


def error_of(call: Callable[[], object]) -> grpc.RpcError:
    """The error that a call ends with."""
    try:
        answer = call()
    except grpc.RpcError as error:
        return error
    raise AssertionError(f"accepted: {answer}")


def fields_of(error: grpc.RpcError) -> list[str]:
    """The request fields that an error's details name."""
    found = []
    status = rpc_status.from_call(error)
    for packed in () if status is None else status.details:
        detail = error_details_pb2.BadRequest()
        if packed.Unpack(detail):
            found += [violation.field for violation in detail.field_violations]
    return found


@dataclass
class Bystander:
    """Somebody whose greedy streams run one after the other until told to stop.

    Attributes:
        answers: the token ids of each stream that ended.
        failure: what went wrong.
    """

    stub: inference_pb2_grpc.InferenceServiceStub
    is_streaming: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)
    answers: list[list[int]] = field(default_factory=list)
    failure: grpc.RpcError | None = None

    def run(self) -> None:
        """Streams until told to stop."""
        try:
            while not self.stop.is_set():
                self.answers.append(self.stream())
        except grpc.RpcError as error:
            self.failure = error
            self.is_streaming.set()

    def stream(self) -> list[int]:
        """The token ids of one long stream."""
        request = inference_pb2.GenerationRequest(
            input={"text": "Once upon a time"},
            sampling={"temperature": 0, "max_tokens": 600, "ignore_eos": True},
            cache={"mode": inference_pb2.CACHE_MODE_BYPASS},
            return_token_ids=True,
        )
        ids: list[int] = []
        for event in self.stub.Generate(inference_pb2.GenerateRequest(request=request), timeout=_PATIENCE_S):
            ids += event.delta.token_ids
            self.is_streaming.set()
        return ids


@contextmanager
def bystander(stack: RunningStack) -> Iterator[Bystander]:
    """Somebody who streams beside what the block does, on a connection of its own; ends its stream at the end."""
    with stub_of(stack) as stub:
        somebody = Bystander(stub)
        thread = threading.Thread(target=somebody.run)
        thread.start()
        assert somebody.is_streaming.wait(_PATIENCE_S)
        try:
            yield somebody
        finally:
            somebody.stop.set()
            thread.join()


def wait_until_idle(stack: RunningStack) -> None:
    """Waits until nothing is under way or waits at the gateway, and every block of every engine is free."""
    deadline = time.monotonic() + _PATIENCE_S
    while busy := what_is_left(stack):
        assert time.monotonic() < deadline, f"left behind: {busy}"
        time.sleep(0.1)


def what_is_left(stack: RunningStack) -> dict[str, float]:
    """Gauges of gateway and engines that are not at rest."""
    left = {
        name: value
        for name, value in _gauges(stack).items()
        if name.startswith(("penstock_gateway_admitted", "penstock_gateway_queue", "penstock_gateway_running"))
    }
    for replica in stack.replicas():
        stats = stack.worker_stats(replica.address)
        left[f"{replica.replica_id} running"] = stats.num_running
        left[f"{replica.replica_id} waiting"] = stats.num_waiting
        left[f"{replica.replica_id} blocks"] = stats.num_kv_blocks - stats.num_free_blocks
    return {name: value for name, value in left.items() if value}


def _gauges(stack: RunningStack) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{stack.status['addresses']['http']}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


def memory_bytes(stack: RunningStack, service: str) -> int:
    """Resident memory of a service's process."""
    return int(_process(stack, service).memory_info().rss)


def forget_peak_memory(stack: RunningStack, service: str) -> None:
    """From now on the peak is counted anew."""
    Path(f"/proc/{_process(stack, service).pid}/clear_refs").write_text("5")


def peak_memory_bytes(stack: RunningStack, service: str) -> int:
    """The most that it was since the peak was forgotten."""
    status = Path(f"/proc/{_process(stack, service).pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def cpu_s(stack: RunningStack, service: str) -> float:
    """Processor time that a service has used, in seconds."""
    times = _process(stack, service).cpu_times()
    return float(times.user + times.system)


def _process(stack: RunningStack, service: str) -> psutil.Process:
    return psutil.Process(next(found["pid"] for found in stack.status["services"] if found["name"] == service))
