"""What rounding costs the pocket model: greedy exact answers and perplexity of held-out ones, for each number format.

Questions and answers are those that the model's card reports: training saw neither the wording nor, of the second set,
the operands. The perplexity is that of the right answers' tokens.

python bench/quantization.py --json quantization.json
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from penstock_worker.engine.build import build_engine
from penstock_worker.engine.engine import Engine
from penstock_worker.engine.engine_config import EngineConfig
from penstock_worker.engine.sequence import SamplingOptions, SequenceOutput, SequenceRequest
from penstock_worker.models.quantization import OUTPUT_PROJECTION, Quantization

POCKET = Path(__file__).parents[1] / "models" / "pocket"
sys.path.insert(0, str(POCKET / "training"))

from bpe import chat_ids  # noqa: E402
from corpus import generate  # noqa: E402
from evaluate import MAX_NEW_TOKENS, Question, from_turns, handwritten  # noqa: E402
from style import normalise  # noqa: E402

HEAD = frozenset({OUTPUT_PROJECTION})
ATTENTION = frozenset({"qkv", "output"})
FORMATS: dict[str, EngineConfig] = {
    "float32": EngineConfig(dtype="float32"),
    "bfloat16": EngineConfig(dtype="bfloat16"),
    "int8": EngineConfig(quantize="int8"),
    "int4 (groups of 32, head in 8 bits)": EngineConfig(quantize="int4"),
    "int4, groups of 64": EngineConfig(quantize=Quantization(bits=4, group_size=64)),
    "int4, groups of 128": EngineConfig(quantize=Quantization(bits=4, group_size=128)),
    "int4, head in 4 bits too": EngineConfig(quantize=Quantization(bits=4, eight_bit=frozenset())),
    "int4, head and down in 8 bits": EngineConfig(quantize=Quantization(bits=4, eight_bit=HEAD | {"down"})),
    "int4, head and attention in 8 bits": EngineConfig(quantize=Quantization(bits=4, eight_bit=HEAD | ATTENTION)),
}


@dataclass(frozen=True, slots=True)
class Quality:
    """Of one format.

    Attributes:
        format: its name.
        numerics: what the engine calls it.
        weight_bytes: memory of all weights, the float32 embedding included.
        num_correct: exact answers, by set.
        num_questions: by set.
        perplexity: of the tokens of right answers.
    """

    format: str
    numerics: str
    weight_bytes: int
    num_correct: dict[str, int]
    num_questions: dict[str, int]
    perplexity: float

    @property
    def percent(self) -> float:
        """Exact answers of all questions."""
        return 100 * sum(self.num_correct.values()) / sum(self.num_questions.values())


class Exam:
    """Questions with their right answers, put to one format after another.

    Args:
        sets: by name.
    """

    def __init__(self, sets: dict[str, list[Question]]) -> None:
        self._sets = sets
        core = Tokenizer.from_file(str(POCKET / "tokenizer.json"))
        template = (POCKET / "chat_template.jinja").read_text()
        self._tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, chat_template=template)

    def sit(self, name: str, config: EngineConfig) -> Quality:
        """Asks all questions, then scores the right answers."""
        engine, loaded = build_engine(POCKET, replace(config, max_running_sequences=256))
        correct = {}
        for set_name, questions in self._sets.items():
            replies = self._answers(engine, questions)
            correct[set_name] = sum(map(_is_right, questions, replies))
        precision = f"{loaded.dtype}+{loaded.quantization}" if loaded.quantization else loaded.dtype
        counts = {set_name: len(questions) for set_name, questions in self._sets.items()}
        return Quality(name, precision, loaded.weight_bytes, correct, counts, self._perplexity(engine))

    def _answers(self, engine: Engine, questions: Sequence[Question]) -> list[str]:
        sampling = SamplingOptions(max_tokens=MAX_NEW_TOKENS)
        prompts = [self._ids(question) for question in questions]
        tokens: list[list[int]] = [[] for _ in prompts]
        requests = [
            SequenceRequest(key=key, prompt_token_ids=ids, sampling=sampling) for key, ids in enumerate(prompts)
        ]
        for output in _outputs(engine, requests):
            tokens[output.key] += output.token_ids
        return [str(self._tokenizer.decode(ids, skip_special_tokens=True)) for ids in tokens]

    def _perplexity(self, engine: Engine) -> float:
        questions = [question for questions in self._sets.values() for question in questions]
        requests = [self._scored(key, question) for key, question in enumerate(questions)]
        logprobs = [scored.logprob for output in _outputs(engine, requests) for scored in output.prompt_logprobs]
        return math.exp(-sum(logprobs) / len(logprobs))

    def _scored(self, key: int, question: Question) -> SequenceRequest:
        """Has the engine report the log probabilities of the answer, its end included."""
        return SequenceRequest(
            key=key,
            prompt_token_ids=self._ids(question, question.accepted[0]),
            sampling=SamplingOptions(max_tokens=1),
            prompt_logprobs=0,
            prompt_logprob_offset=len(self._ids(question)),
        )

    def _ids(self, question: Question, answer: str | None = None) -> list[int]:
        messages = [{"role": "user", "content": question.text}]
        if answer is not None:
            messages.append({"role": "assistant", "content": answer})
        return chat_ids(self._tokenizer, messages, opens_reply=answer is None)


def _outputs(engine: Engine, requests: Sequence[SequenceRequest]) -> Iterator[SequenceOutput]:
    for request in requests:
        engine.add(request)
    while engine.has_work:
        yield from engine.step().outputs


def _is_right(question: Question, answer: str) -> bool:
    return normalise(answer) in {normalise(accepted) for accepted in question.accepted}


def table(results: Sequence[Quality]) -> str:
    """In Markdown, the difference to the first format beside each share."""
    first = results[0]
    names = list(first.num_questions)
    lines = [
        f"| format | numerics | weights, MiB | {' | '.join(names)} | all, % | difference, points | perplexity |",
        "|---" * (len(names) + 6) + "|",
    ]
    for result in results:
        shares = " | ".join(f"{result.num_correct[name]} of {result.num_questions[name]}" for name in names)
        lines.append(
            f"| {result.format} | `{result.numerics}` | {result.weight_bytes / 2**20:.1f} | {shares} | "
            f"{result.percent:.1f} | {result.percent - first.percent:+.2f} | {result.perplexity:.4f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Puts the questions to every format."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--held-out", type=int, default=2000, help="questions in held-out wording, and half as many more"
    )
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    corpus = generate(160_000, options.held_out, seed=7)
    exam = Exam(
        {
            "held-out wording": from_turns(corpus.held_out_templates),
            "held-out operands": from_turns(corpus.held_out_operands),
            "hand-written": handwritten(),
        }
    )
    results = []
    for name in options.formats:
        begin_s = time.monotonic()
        results.append(exam.sit(name, FORMATS[name]))
        print(f"{name}: {results[-1].percent:.2f} % in {time.monotonic() - begin_s:.0f} s", file=sys.stderr)
        if options.json is not None:  # after each format: all of them take a while
            options.json.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
