"""Greedy exact match of the checkpoint on held-out and hand-written questions.

Run: `python models/pocket/training/evaluate.py` for the 150 hand-written questions alone, with
`--held-out 2000` for as many held-out ones as the card reports.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from bpe import chat_ids
from corpus import HANDWRITTEN, Turn, generate
from style import normalise
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

CHECKPOINT = Path(__file__).parents[1]
MAX_NEW_TOKENS = 450
SHORT_ANSWER_TOKENS = 32
BATCH_QUESTIONS = 64


@dataclass(frozen=True, slots=True)
class Question:
    """A question with all answers that count as right."""

    domain: str
    text: str
    accepted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Miss:
    """A wrong answer."""

    domain: str
    question: str
    answer: str
    accepted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """Exact matches out of all, in total and by domain."""

    num_correct: int
    num_questions: int
    by_domain: dict[str, tuple[int, int]]
    misses: tuple[Miss, ...]

    @property
    def percent(self) -> float:
        """Share of exact matches, to a tenth."""
        return round(100 * self.num_correct / self.num_questions, 1)


def handwritten() -> list[Question]:
    """The 150 questions that were fixed before any training."""
    rows = [json.loads(line) for line in HANDWRITTEN.open()]
    return [Question(row["domain"], row["question"], tuple(row["answers"])) for row in rows]


def from_turns(turns: Sequence[Turn]) -> list[Question]:
    """Generated questions; the canonical answer alone is right."""
    return [Question(turn.relation.partition(".")[0], turn.question, (turn.answer,)) for turn in turns]


def equal_lengths(prompts: Sequence[list[int]]) -> Iterator[list[int]]:
    """Indices of prompts in groups of one length, so that no prompt is padded."""
    groups: dict[int, list[int]] = defaultdict(list)
    for index, prompt in enumerate(prompts):
        groups[len(prompt)].append(index)
    for group in groups.values():
        for start in range(0, len(group), BATCH_QUESTIONS):
            yield group[start : start + BATCH_QUESTIONS]


def answers(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[str]:
    """Greedy answers in the order of the questions; the few long ones do not hold up the batches of the others."""
    prompts = [chat_ids(tokenizer, [{"role": "user", "content": text}], opens_reply=True) for text in texts]
    replies = continuations(model, prompts, SHORT_ANSWER_TOKENS)
    unfinished = [index for index, reply in enumerate(replies) if model.config.eos_token_id not in reply]
    long = continuations(model, [prompts[index] for index in unfinished], MAX_NEW_TOKENS)
    for index, reply in zip(unfinished, long, strict=True):
        replies[index] = reply
    return [str(tokenizer.decode(reply, skip_special_tokens=True)) for reply in replies]


@torch.no_grad()
def continuations(model: LlamaForCausalLM, prompts: Sequence[list[int]], max_new_tokens: int) -> list[list[int]]:
    """Greedy token ids after each prompt, padded behind the end of the answer."""
    replies: list[list[int]] = [[] for _ in prompts]
    for group in equal_lengths(prompts):
        ids = torch.tensor([prompts[index] for index in group])
        output = model.generate(  # type: ignore[misc]
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=max_new_tokens
        )
        for index, row in zip(group, output[:, ids.shape[1] :].tolist(), strict=True):
            replies[index] = row
    return replies


def score(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, questions: Sequence[Question]) -> Score:
    """Exact match after `normalise`, which forgives case and punctuation and nothing else."""
    correct: dict[str, int] = defaultdict(int)
    total: dict[str, int] = defaultdict(int)
    misses = []
    for question, answer in zip(questions, answers(model, tokenizer, [q.text for q in questions]), strict=True):
        is_correct = normalise(answer) in {normalise(accepted) for accepted in question.accepted}
        total[question.domain] += 1
        correct[question.domain] += is_correct
        if not is_correct:
            misses.append(Miss(question.domain, question.text, answer, question.accepted))
    by_domain = {domain: (correct[domain], total[domain]) for domain in sorted(total)}
    return Score(sum(correct.values()), len(questions), by_domain, tuple(misses))


def report(name: str, result: Score) -> None:
    """Print totals, domains and the first misses."""
    print(f"{name}: {result.num_correct} of {result.num_questions} = {result.percent} %")
    for domain, (num_correct, num_questions) in result.by_domain.items():
        print(f"  {domain:12} {num_correct:4} of {num_questions}")
    for miss in result.misses[:40]:
        print(f"  missed: {miss.question!r} -> {miss.answer!r}")


def main() -> None:
    """Evaluate a saved checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--held-out", type=int, default=0, help="also this many held-out questions")
    parser.add_argument("--questions", type=int, default=160_000, help="size of the corpus trained on")
    parser.add_argument("--seed", type=int, default=7, help="seed of the corpus trained on")
    options = parser.parse_args()
    model = LlamaForCausalLM.from_pretrained(options.checkpoint)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(options.checkpoint)
    report("hand-written", score(model, tokenizer, handwritten()))
    if options.held_out:
        corpus = generate(options.questions, options.held_out, options.seed)
        report("held-out templates", score(model, tokenizer, from_turns(corpus.held_out_templates)))
        report("held-out operands", score(model, tokenizer, from_turns(corpus.held_out_operands)))


if __name__ == "__main__":
    main()
