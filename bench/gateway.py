"""What the gateway costs, beside the least that a grpc.aio server can cost, in interleaved rounds of one run.

Three paths: a bare grpc.aio echo, a Session straight to a replica, and the gateway in front of that replica. Replicas,
tokenizer, cache and fleet are stubs in a process of their own, so that the gateway's CPU is all of its own making.

python bench/gateway.py --json gateway.json --plot gateway.png
"""

import argparse
import json
import tempfile
from pathlib import Path

import uvloop
from gateway_bench import loads, report
from gateway_bench.figures import Round, figures_of, to_fields
from gateway_bench.processes import Peers, running_peers


async def one_round(peers: Peers) -> Round:
    """Each load beside its floor."""
    echo_unary = await loads.echo_unary(peers.echo)
    hops_unary = await loads.hops_unary(peers.echo)
    gateway_unary = await loads.gateway_unary(peers.gateway)
    echo_messages = await loads.echo_messages(peers.echo)
    gateway_messages, num_tokens = await loads.gateway_messages(peers.gateway)
    return Round(
        echo_unary=echo_unary,
        hops_unary=hops_unary,
        gateway_unary=gateway_unary,
        echo_messages=echo_messages,
        gateway_messages=gateway_messages,
        num_full_speed_tokens=num_tokens,
        echo_paced=await loads.echo_paced(peers.echo),
        session_paced=await loads.session_paced(peers.worker_address),
        gateway_paced=await loads.gateway_paced(peers.gateway),
    )


async def main() -> None:
    """Runs, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures and each round's here")
    parser.add_argument("--plot", type=Path, help="write a picture here (PNG)")
    options = parser.parse_args()
    environment = report.environment()
    with tempfile.TemporaryDirectory() as state_dir:
        async with running_peers(Path(state_dir)) as peers:
            rounds = [await one_round(peers) for _ in range(1 + options.rounds)][1:]  # the first one warms up
    figures = figures_of(rounds)
    print(report.table(figures))
    if options.json is not None:
        by_round = [[to_fields(figure) for figure in figures_of([each])] for each in rounds]
        found = {"environment": environment, "figures": list(map(to_fields, figures)), "rounds": by_round}
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if options.plot is not None:
        load = environment["load_average_1m"]
        title = f"{environment['num_cpus']} cores shared with other work (load average {load:.1f} before the run)"
        report.save_plot(options.plot, rounds, figures, title=title)


if __name__ == "__main__":
    uvloop.run(main())
