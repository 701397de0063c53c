"""Speculation on and off, side by side: tokens a CPU second of one checkpoint in one process, in interleaved rounds.

Three kinds of traffic: greedy output that goes on past its end and so repeats itself, output drawn at temperature 1,
and output drawn so hot that nothing ever comes again. A ratio above 1 is a gain.

python bench/speculation.py models/pocket --speculate prompt-lookup
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock_worker.engine.build import build_engine
from penstock_worker.engine.engine import Engine
from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.engine.sequence import SamplingOptions, SequenceRequest

_PROMPT_TOKENS = 64
_TEMPERATURES = {"repetitive": 0.0, "sampled": 1.0, "random": 10.0}


@dataclass(frozen=True)
class Workload:
    """So many sequences at once, of one kind of traffic."""

    traffic: str
    batch: int
    num_tokens: int

    def sampling(self, seed: int) -> SamplingOptions:
        """What makes the traffic of its kind."""
        temperature = _TEMPERATURES[self.traffic]
        return SamplingOptions(max_tokens=self.num_tokens, temperature=temperature, seed=seed, ignore_eos=True)


@dataclass(frozen=True)
class Cell:
    """What was measured of a workload: medians over the rounds, and of the rounds' own ratios."""

    traffic: str
    batch: int
    off_tokens_per_s: float
    on_tokens_per_s: float
    ratio: float
    ratios: list[float]
    drafted: int
    accepted: int


def run(engine: Engine, workload: Workload, prompts: Sequence[Sequence[int]]) -> float:
    """Tokens a second of CPU time: what others do on the machine does not count."""
    for key, prompt in enumerate(prompts):
        engine.add(SequenceRequest(key=key, prompt_token_ids=prompt, sampling=workload.sampling(key)))
    begin_s = time.process_time()
    while engine.has_work:
        engine.step()
    return workload.batch * workload.num_tokens / (time.process_time() - begin_s)


def compare(engines: tuple[Engine, Engine], workload: Workload, *, vocab_size: int, num_rounds: int) -> Cell:
    """Rounds of off and on in turn, each with prompts of its own; the first one only warms up."""
    off, on = engines
    before = on.stats()
    generator = random.Random(workload.batch)
    rates: list[tuple[float, float]] = []
    for number in range(1 + num_rounds):
        prompts = [[generator.randrange(vocab_size) for _ in range(_PROMPT_TOKENS)] for _ in range(workload.batch)]
        if number % 2:
            off_rate, on_rate = run(off, workload, prompts), run(on, workload, prompts)
        else:
            on_rate, off_rate = run(on, workload, prompts), run(off, workload, prompts)
        rates.append((off_rate, on_rate))
    ratios = [on_rate / off_rate for off_rate, on_rate in rates[1:]]
    after = on.stats()
    return Cell(
        traffic=workload.traffic,
        batch=workload.batch,
        off_tokens_per_s=statistics.median(off_rate for off_rate, _ in rates[1:]),
        on_tokens_per_s=statistics.median(on_rate for _, on_rate in rates[1:]),
        ratio=statistics.median(ratios),
        ratios=ratios,
        drafted=after.num_drafted_tokens - before.num_drafted_tokens,
        accepted=after.num_accepted_tokens - before.num_accepted_tokens,
    )


def line(cell: Cell) -> str:
    """A cell to read."""
    spread = f"{min(cell.ratios):.2f} to {max(cell.ratios):.2f}"
    return (
        f"{cell.traffic:<10} batch {cell.batch:>2}: off {cell.off_tokens_per_s:7.1f}, on {cell.on_tokens_per_s:7.1f}"
        f" tokens/CPU s, ratio {cell.ratio:.2f} ({spread}), {cell.accepted} of {cell.drafted} drafts right"
    )


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model_dir", type=Path)
    parser.add_argument("--speculate", default="prompt-lookup")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--quantize", default="none")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=128, help="of output")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--traffic", nargs="+", choices=list(_TEMPERATURES), default=list(_TEMPERATURES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    told = parser.parse_args()
    engines = []
    for speculate in ("off", told.speculate):
        config = EngineConfig(
            dtype=told.dtype,
            quantize=told.quantize,
            num_threads=told.threads,
            kv_memory_bytes=1 << 30,
            prefix_cache=False,
            speculate=speculate,
        )
        engine, model = build_engine(told.model_dir, config)
        engines.append(engine)
    cells = []
    for traffic in told.traffic:
        for batch in told.batches:
            workload = Workload(traffic, batch, told.tokens)
            cell = compare((engines[0], engines[1]), workload, vocab_size=model.vocab_size, num_rounds=told.rounds)
            cells.append(cell.__dict__)
            print(line(cell), flush=True)
    if told.json is not None:
        told.json.write_text(json.dumps(cells, indent=1))


if __name__ == "__main__":
    main()
