"""What the prefix cache gains and costs: our engine with it and without, in interleaved rounds of one run.

16 requests of 512 shared and 16 own tokens arrive together and generate 64 each, on a small random model. Then what
naming the blocks of a prompt costs a gateway.

python bench/prefix_cache.py
"""

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path

from engine_bench.checkpoint import make_checkpoint
from engine_bench.shapes import TINY

from penstock_shared.prefix_chain import prefix_blocks, root_hash
from penstock_worker.engine.build import build_engine
from penstock_worker.engine.engine import Engine
from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.engine.sequence import SamplingOptions, SequenceRequest

_SHAPE = TINY | {
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 1_024,
}
_NUM_REQUESTS = 16
_NUM_SHARED_TOKENS = 512
_NUM_OWN_TOKENS = 16
_NUM_OUTPUT_TOKENS = 64

_keys = itertools.count()


def run(engine: Engine, cache_salt: bytes) -> tuple[float, int]:
    """Output tokens per second of one burst, and the tokens that were computed for it."""
    sampling = SamplingOptions(max_tokens=_NUM_OUTPUT_TOKENS, ignore_eos=True)
    shared = [token % 2_000 for token in range(_NUM_SHARED_TOKENS)]
    num_computed = engine.stats().num_computed_tokens
    begin_s = time.perf_counter()
    for i in range(_NUM_REQUESTS):
        prompt = [*shared, *[i + 2] * _NUM_OWN_TOKENS]
        request = SequenceRequest(
            key=next(_keys), prompt_token_ids=prompt, sampling=sampling, choice_index=i, cache_salt=cache_salt
        )
        engine.add(request)
    while engine.has_work:
        engine.step()
    seconds = time.perf_counter() - begin_s
    return _NUM_REQUESTS * _NUM_OUTPUT_TOKENS / seconds, engine.stats().num_computed_tokens - num_computed


def naming_us_per_1000_tokens() -> float:
    """The best of some tries: on a machine that others use, the rest is theirs."""
    prompt = [token % 2_000 for token in range(1_000)]

    def once() -> float:
        begin_s = time.perf_counter()
        for _ in prefix_blocks(root_hash(cache_salt=b"salt", revision="r"), prompt, 16):
            pass
        return time.perf_counter() - begin_s

    return min(once() for _ in range(500)) * 1e6


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    num_rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as directory:
        model_dir = make_checkpoint(Path(directory), _SHAPE)
        without, _ = build_engine(model_dir, EngineConfig(prefix_cache=False, num_threads=1))
        with_cache, _ = build_engine(model_dir, EngineConfig(num_threads=1))
        found: dict[str, list[tuple[float, int]]] = {"off": [], "first": [], "again": []}
        for i in range(1 + num_rounds):
            salt = str(i).encode()
            found["off"].append(run(without, salt))
            found["first"].append(run(with_cache, salt))
            found["again"].append(run(with_cache, salt))
    titles = {"off": "without", "first": "with, prefix unknown", "again": "with, prefix known"}
    base = statistics.median(rate for rate, _ in found["off"][1:])  # the first round warms up
    for name, title in titles.items():
        rates = [rate for rate, _ in found[name][1:]]
        rate = statistics.median(rates)
        spread = f"{min(rates):.0f} to {max(rates):.0f}"
        print(
            f"{title:22} {found[name][-1][1]:6,} tokens computed  {rate:6.0f} tokens/s ({spread})  {rate / base:.2f}x"
        )
    print(f"naming blocks          {naming_us_per_1000_tokens():.0f} us per 1,000 tokens of prompt")


if __name__ == "__main__":
    main()
