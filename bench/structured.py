"""Structured output under measure: objects that must validate, masks, compilations, what is hostile, throughput.

python bench/structured.py                  # all parts
python bench/structured.py --only objects   # 500 objects over 25 schemas by a model of random weights
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import torch
from tokenizers import Tokenizer

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from fakes.hostile_constraints import BOUNDED, REFUSED, slow_grammar  # noqa: E402
from fakes.word_checkpoints import EOS_TOKEN_ID, TOKENIZER_FILE, save_word_checkpoint  # noqa: E402
from llguidance import LLTokenizer  # noqa: E402

from penstock_gateway.constraints.checker import ConstraintChecker  # noqa: E402
from penstock_gateway.constraints.trial import TableTokenizer  # noqa: E402
from penstock_gateway.text.vocabulary import Vocabulary  # noqa: E402
from penstock_shared.constraint import Constraint, ConstraintKind  # noqa: E402
from penstock_shared.directory import ModelSpec, SamplingDefaults  # noqa: E402
from penstock_shared.errors import InvalidArgumentError  # noqa: E402
from penstock_shared.grammar import make_matcher  # noqa: E402
from penstock_worker.engine.build import build_engine  # noqa: E402
from penstock_worker.engine.engine import Engine  # noqa: E402
from penstock_worker.engine.engine_config import EngineConfig  # noqa: E402
from penstock_worker.engine.sequence import FinishReason, SamplingOptions, SequenceRequest  # noqa: E402

SCHEMAS: dict[str, Any] = json.loads((ROOT / "tests/penstock_worker/constraints/schemas.json").read_text())
LARGE_VOCABULARY = 151_936
MAX_TOKENS = 3000


def measure_objects(num_each: int) -> None:
    """Generates objects with random weights at temperature 1, and validates each."""
    tokenizer = Tokenizer.from_file(str(TOKENIZER_FILE))
    num_valid, num_tokens, bad = 0, 0, []
    model_dir = tempfile.TemporaryDirectory()
    config = EngineConfig(kv_memory_bytes=256 << 20, num_threads=1, dtype="float32")
    engine, _ = build_engine(save_word_checkpoint(Path(model_dir.name)), config)
    started = time.perf_counter()
    requests = [(name, seed) for name in SCHEMAS for seed in range(num_each)]
    for key, (name, seed) in enumerate(requests, 1):
        engine.add(_request(key, seed, schema_constraint(SCHEMAS[name])))
    for key, token_ids, reason in _finished(engine):
        name, seed = requests[key - 1]
        num_tokens += len(token_ids)
        problem = _problem(tokenizer.decode(token_ids), SCHEMAS[name]) if reason is FinishReason.STOP else str(reason)
        num_valid += problem is None
        bad += [(name, seed, problem)] if problem else []
    took = time.perf_counter() - started
    model_dir.cleanup()
    print(f"objects: {num_valid} of {len(requests)} valid, {num_tokens} tokens in {took:.1f} s")
    for case in bad:
        print("  not valid:", *case)


def measure_masks() -> None:
    """Time of one mask, at the pocket's vocabulary and at a large one."""
    for label, tokenizer in (("pocket", _pocket_tokenizer()), (f"{LARGE_VOCABULARY:,}", _large_tokenizer())):
        for name in ("flat object", "pattern", "function call"):
            times_us = sorted(_mask_times_us(tokenizer, SCHEMAS[name]))
            p50, p99 = statistics.median(times_us), times_us[int(len(times_us) * 0.99)]
            figures = f"p50 {p50:7.1f} µs  p99 {p99:7.1f} µs  max {times_us[-1]:7.1f} µs"
            print(f"mask: {label:>8} tokens, {name:<15} {figures}")


def measure_compilations() -> None:
    """Time to compile each schema, and to copy what is compiled."""
    for label, tokenizer in (("pocket", _pocket_tokenizer()), (f"{LARGE_VOCABULARY:,}", _large_tokenizer())):
        compiled_ms, copied_us = [], []
        for schema in SCHEMAS.values():
            started = time.perf_counter()
            matcher = make_matcher(tokenizer, "json_schema", [json.dumps(schema)])
            compiled_ms.append((time.perf_counter() - started) * 1e3)
            started = time.perf_counter()
            matcher.deep_copy()
            copied_us.append((time.perf_counter() - started) * 1e6)
        print(
            f"compile: {label:>8} tokens, p50 {statistics.median(compiled_ms):.1f} ms  max {max(compiled_ms):.1f} ms;"
            f"  copy of a compiled one p50 {statistics.median(copied_us):.0f} µs"
        )


def measure_throughput(num_sequences: int, num_rounds: int) -> None:
    """Tokens a second with and without a constraint, taken in turns on the pocket model."""
    engine, _ = build_engine(ROOT / "models/pocket", EngineConfig(kv_memory_bytes=256 << 20, num_threads=1))
    constraints: Mapping[str, Constraint | None] = {
        "free": None,
        "regex": Constraint(ConstraintKind.REGEX, (r"[a-z ,.]{400,}",)),
        "schema": schema_constraint({"type": "array", "items": {"type": "integer"}, "minItems": 400}),
    }
    rates: dict[str, list[float]] = {name: [] for name in constraints}
    cpu_us: dict[str, list[float]] = {name: [] for name in constraints}
    key = 0
    for _ in range(num_rounds):
        for name, constraint in constraints.items():
            for seed in range(num_sequences):
                key += 1
                engine.add(_request(key, seed, constraint, max_tokens=128, ignore_eos=True))
            started, started_cpu = time.perf_counter(), time.process_time()
            num_tokens = sum(len(token_ids) for _, token_ids, _ in _finished(engine))
            rates[name].append(num_tokens / (time.perf_counter() - started))
            cpu_us[name].append((time.process_time() - started_cpu) / num_tokens * 1e6)
    for name, values in rates.items():
        shown = " ".join(f"{value:.0f}" for value in values)
        cost = f"{statistics.median(cpu_us[name]):.0f} µs of the engine's CPU time a token"
        print(f"throughput: {num_sequences} sequences, {name:<6} {shown} tokens/s, {cost}")


def measure_hostile() -> None:
    """How long the gateway takes to refuse what is hostile, and how much longer a step beside a slow mask takes."""
    asyncio.run(_check_hostile())
    engine, _ = build_engine(ROOT / "models/pocket", EngineConfig(kv_memory_bytes=256 << 20, num_threads=1))
    for label, hostile in (("alone", None), ("beside a slow grammar", slow_grammar(390))):
        for key, constraint in ((1, hostile), (2, None)):
            engine.add(_request(key, key, constraint, max_tokens=900, ignore_eos=True))
        gaps_ms, last = [], time.perf_counter()
        while engine.has_work:
            if any(output.key == 2 and output.token_ids for output in engine.step().outputs):
                now = time.perf_counter()
                gaps_ms.append((now - last) * 1e3)
                last = now
        gaps_ms.sort()
        p50, p99 = statistics.median(gaps_ms), gaps_ms[int(len(gaps_ms) * 0.99)]
        print(f"a stream {label}: gaps between tokens p50 {p50:.1f} ms  p99 {p99:.1f} ms  max {gaps_ms[-1]:.1f} ms")


async def _check_hostile() -> None:
    entries = tuple(_pocket_tokenizer().decode_bytes([token_id]) for token_id in range(2048))
    vocabulary = Vocabulary("pocket", entries)
    spec = ModelSpec("pocket", "r", "pocket", "t", 1024, (EOS_TOKEN_ID,), SamplingDefaults(), 2048, "")
    checker = ConstraintChecker(num_processes=1, cpu_s=0.25)
    warm = Constraint(ConstraintKind.REGEX, ("a",))
    for name, constraint in (REFUSED | BOUNDED).items():
        await checker.check(warm, spec, vocabulary, field="", tenant="")
        warm = Constraint(ConstraintKind.REGEX, (f"{name} over",))
        started, verdict = time.perf_counter(), "taken"
        try:
            await checker.check(constraint, spec, vocabulary, field="", tenant="")
        except InvalidArgumentError as error:
            verdict = error.message.partition("it says: ")[2][:60]
        print(f"hostile: {name:<28} {(time.perf_counter() - started) * 1e3:6.0f} ms  {verdict}")
    await checker.close()


def schema_constraint(schema: Any) -> Constraint:
    """A JSON schema as a constraint."""
    return Constraint(ConstraintKind.JSON_SCHEMA, (json.dumps(schema, ensure_ascii=False),))


def _problem(text: str, schema: Any) -> str | None:
    try:
        jsonschema.validate(json.loads(text), schema, cls=jsonschema.Draft202012Validator)
    except (ValueError, jsonschema.ValidationError) as error:
        return f"{text!r}: {error}"
    return None


def _request(key: int, seed: int, constraint: Constraint | None, **sampling: Any) -> SequenceRequest:
    options = SamplingOptions(**({"max_tokens": MAX_TOKENS, "temperature": 1.0, "seed": seed} | sampling))
    return SequenceRequest(key=key, prompt_token_ids=[10, 11, 12], sampling=options, constraint=constraint)


def _finished(engine: Engine) -> Iterator[tuple[int, list[int], FinishReason]]:
    outputs: dict[int, list[int]] = {}
    while engine.has_work:
        for output in engine.step().outputs:
            outputs.setdefault(output.key, []).extend(output.token_ids)
            if output.end is not None:
                yield output.key, outputs.pop(output.key), output.end.reason


def _mask_times_us(tokenizer: LLTokenizer, schema: Any) -> Iterator[float]:
    start = make_matcher(tokenizer, "json_schema", [json.dumps(schema)])
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        matcher = start.deep_copy()
        while not matcher.is_stopped():
            began = time.perf_counter()
            mask = matcher.compute_bitmask()
            yield (time.perf_counter() - began) * 1e6
            matcher.consume_token(_any_of(mask, generator))


def _any_of(mask: bytes, generator: torch.Generator) -> int:
    bits = torch.frombuffer(bytearray(mask), dtype=torch.uint8).unsqueeze(1)
    allowed = (bits >> torch.arange(8, dtype=torch.uint8) & 1).flatten().nonzero().squeeze(1)
    return int(allowed[torch.randint(len(allowed), (1,), generator=generator)])


def _pocket_tokenizer() -> LLTokenizer:
    return LLTokenizer(str(TOKENIZER_FILE), n_vocab=2048, eos_token=[EOS_TOKEN_ID])


def _large_tokenizer() -> LLTokenizer:
    """All bytes, and pieces of JSON-like and random text up to the size of a large vocabulary."""
    generator = torch.Generator().manual_seed(0)
    letters = b' etaoinshrdlucmfwypvbgkjqxz0123456789",:{}[]ETAOINSHRDLU-_.'
    tokens = [bytes([byte]) for byte in range(256)]
    seen = set(tokens)
    while len(tokens) < LARGE_VOCABULARY - 1:
        size = int(torch.randint(2, 9, (1,), generator=generator))
        token = bytes(letters[i] for i in torch.randint(len(letters), (size,), generator=generator).tolist())
        if token not in seen:
            seen.add(token)
            tokens.append(token)
    table = TableTokenizer([*tokens, b""], [LARGE_VOCABULARY - 1])
    return LLTokenizer(table, eos_token=[LARGE_VOCABULARY - 1])


def main() -> None:
    """Runs what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts: dict[str, Callable[[argparse.Namespace], None]] = {
        "objects": lambda asked: measure_objects(asked.each),
        "masks": lambda _: measure_masks(),
        "compile": lambda _: measure_compilations(),
        "hostile": lambda _: measure_hostile(),
        "throughput": lambda asked: measure_throughput(asked.sequences, asked.rounds),
    }
    parser.add_argument("--only", choices=parts, help="one part")
    parser.add_argument("--each", type=int, default=20, help="objects a schema")
    parser.add_argument("--sequences", type=int, default=16, help="sequences at once, for throughput")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, for throughput")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for name, measure in parts.items():
        if asked.only in (None, name):
            measure(asked)


if __name__ == "__main__":
    main()
