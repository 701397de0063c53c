"""Raises the load on a running stack and lowers it again, and shows what the fleet makes of it.

The model must be wanted with `autoscale` (`penstock fleet apply`). Requests come at random times, without waiting for
one another; every second replicas and load are noted. Prints the figures, and a failed request is an error:

    python bench/autoscaling.py --state-dir DIR --peak 60 --ramp-s 120 --plot autoscaling.png --json autoscaling.json
"""

import argparse
import asyncio
import json
import random
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import grpc
import matplotlib.pyplot as plt

from penstock.client.aio import AsyncClient
from penstock.client.errors import PenstockError
from penstock.client.options import Message
from penstock.fleet.v1 import fleet_pb2, fleet_pb2_grpc
from penstock.local.control import running_stack
from penstock.local.paths import StateDir
from penstock_shared.credentials import FleetCredential

QUESTION: list[Message] = [{"role": "user", "content": "What is the capital of France?"}]
READY = fleet_pb2.REPLICA_STATE_READY


@dataclass
class Run:
    """What was seen. Times in seconds from the start."""

    samples: list[dict[str, float]] = field(default_factory=list)
    requests: list[dict[str, float]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    num_open: int = 0


def rate_at(at_s: float, options: argparse.Namespace) -> float:
    """Requests a second: quiet, up, on top, down, quiet."""
    quiet_s, ramp_s, top_s = options.quiet_s, options.ramp_s, options.top_s
    up = (at_s - quiet_s) / ramp_s
    down = (quiet_s + 2 * ramp_s + top_s - at_s) / ramp_s
    return float(options.base + (options.peak - options.base) * max(0.0, min(1.0, up, down)))


async def ask(client: AsyncClient, run: Run, began_s: float, at_s: float, num_tokens: int) -> None:
    """One request."""
    run.num_open += 1
    try:
        async with client.stream(
            messages=QUESTION, cache="bypass", max_tokens=num_tokens, ignore_eos=True, seed=random.getrandbits(32)
        ) as stream:
            await anext(stream)
            await anext(stream)
            first_s = time.monotonic() - began_s - at_s
            await stream.answer()
        run.requests.append({"at_s": at_s, "ttft_s": first_s, "took_s": time.monotonic() - began_s - at_s})
    except PenstockError as error:
        run.failures.append(str(error))
    finally:
        run.num_open -= 1


async def sample(fleet: Any, metadata: Any, run: Run, began_s: float, options: argparse.Namespace) -> None:
    """Once a second, until cancelled."""
    while True:
        told = await fleet.GetFleet(fleet_pb2.GetFleetRequest(), metadata=metadata, timeout=10)
        at_s = time.monotonic() - began_s
        states = [replica.state for replica in told.directory.replicas]
        run.samples.append(
            {
                "at_s": at_s,
                "rate": rate_at(at_s, options),
                "wanted": sum(each.num_wanted for each in told.progress),
                "ready": states.count(READY),
                "open": run.num_open,
            }
        )
        await asyncio.sleep(1)


async def measure(options: argparse.Namespace) -> Run:
    """The whole course."""
    state_dir = StateDir(options.state_dir)
    addresses = running_stack(state_dir).addresses
    metadata = FleetCredential.load(state_dir.credential_file).metadata()
    run, tasks = Run(), set()
    async with (
        AsyncClient(addresses.gateway, timeout_s=120) as client,
        grpc.aio.insecure_channel(addresses.fleet) as channel,
    ):
        began_s = time.monotonic()
        sampling = asyncio.create_task(
            sample(fleet_pb2_grpc.FleetServiceStub(channel), metadata, run, began_s, options)
        )
        end_s = 2 * options.quiet_s + 2 * options.ramp_s + options.top_s
        while (at_s := time.monotonic() - began_s) < end_s:
            if (rate := rate_at(at_s, options)) > 0:
                task = asyncio.create_task(ask(client, run, began_s, at_s, options.tokens))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.sleep(random.expovariate(rate) if rate > 0 else 0.2)
        await asyncio.gather(*tasks)
        await asyncio.sleep(options.after_s)
        sampling.cancel()
    return run


def plot(run: Run, path: Path) -> None:
    """Replicas, load and time to the first token, one above the other."""
    figure, axes = plt.subplots(3, 1, sharex=True, figsize=(9, 7))
    at_s = [each["at_s"] for each in run.samples]
    axes[0].step(at_s, [each["wanted"] for each in run.samples], label="wanted", where="post")
    axes[0].step(at_s, [each["ready"] for each in run.samples], label="ready", where="post")
    axes[1].plot(at_s, [each["rate"] for each in run.samples], label="requests/s")
    axes[1].plot(at_s, [each["open"] for each in run.samples], label="requests under way")
    axes[2].plot([each["at_s"] for each in run.requests], [each["ttft_s"] for each in run.requests], ".", markersize=2)
    for axis, name in zip(axes, ("replicas", "load", "time to first token, s"), strict=True):
        axis.set_ylabel(name)
        axis.grid(alpha=0.3)
    axes[0].legend()
    axes[1].legend()
    axes[2].set_xlabel("seconds")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--base", type=float, default=1.0, help="requests a second at the beginning and the end")
    parser.add_argument("--peak", type=float, default=60.0)
    parser.add_argument("--quiet-s", type=float, default=20.0)
    parser.add_argument("--ramp-s", type=float, default=90.0)
    parser.add_argument("--top-s", type=float, default=30.0)
    parser.add_argument("--after-s", type=float, default=30.0, help="without any request")
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    run = asyncio.run(measure(options))
    wanted = [int(each["wanted"]) for each in run.samples]
    steps = [count for index, count in enumerate(wanted) if index == 0 or wanted[index - 1] != count]
    waits = sorted(each["ttft_s"] for each in run.requests)
    print(f"{len(run.requests)} answered, {len(run.failures)} failed; replicas wanted: {' '.join(map(str, steps))}")
    if waits:
        print(f"time to first token: p50 {waits[len(waits) // 2]:.2f} s, p95 {waits[int(len(waits) * 0.95)]:.2f} s")
    if options.json:
        options.json.write_text(json.dumps(asdict(run)))
    if options.plot:
        plot(run, options.plot)
    if run.failures:
        raise SystemExit(f"failed: {run.failures[0]}")


if __name__ == "__main__":
    main()
