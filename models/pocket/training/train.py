"""Retrain the pocket model: corpus, tokenizer, training, evaluation and the figures of the card.

Run: `python models/pocket/training/train.py`

Writes the checkpoint, metrics.json, loss.png and the measured block of README.md into models/pocket.
"""

import argparse
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path

import card
import snapshot
import torch
from bpe import END, PAD, chat_ids, save_tokenizer, token_id, train_tokenizer
from corpus import Conversation, Corpus, generate
from evaluate import CHECKPOINT, Score, from_turns, handwritten, report, score
from lessons import lessons
from packing import LONG_ROW_TOKENS, SHORT_ROW_TOKENS, Batch, Encoder, Rows, collate, pack
from trainer import History, Recipe, Run, new_model, train
from transformers import GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerFast

NUM_VALIDATION_QUESTIONS = 200
NUM_CHECKED_CONVERSATIONS = 500
TOKENIZER_CONVERSATIONS = 60_000
SECOND_PEAK = 0.5
"""Of the learning rates: the second cycle refines what the first one found."""


def texts(conversations: list[Conversation]) -> list[str]:
    """All questions and answers, for the tokenizer to learn from."""
    turns = chain.from_iterable(conversation.turns for conversation in conversations)
    return [text for turn in turns for text in (turn.question, turn.answer)]


def check_template(tokenizer: PreTrainedTokenizerFast, encoder: Encoder, conversation: Conversation) -> None:
    """Training must see exactly the ids that the chat template will produce when serving."""
    messages = [{"role": "system", "content": conversation.system}] if conversation.system else []
    for turn in conversation.turns:
        messages += [{"role": "user", "content": turn.question}, {"role": "assistant", "content": turn.answer}]
    assert chat_ids(tokenizer, messages, opens_reply=False) == encoder.encode(conversation).ids, messages


def new_tokenizer(corpus: Corpus) -> PreTrainedTokenizerFast:
    """Train the tokenizer and check that packing and chat template agree on it."""
    tokenizer = train_tokenizer(texts(corpus.train[:TOKENIZER_CONVERSATIONS]), LONG_ROW_TOKENS)
    encoder = Encoder(tokenizer)
    for conversation in corpus.train[:NUM_CHECKED_CONVERSATIONS]:
        if not conversation.is_plain:
            check_template(tokenizer, encoder, conversation)
    return tokenizer


def fit(model: LlamaForCausalLM, rows: Rows, validation: Batch, recipe: Recipe, state: Path | None) -> History:
    """Train through one cycle, or what a saved state has left of it."""
    run = Run(model, recipe)
    if state and state.exists():
        snapshot.load(run, state)
    print(f"{len(rows)} steps, {run.history.num_steps} of them done")
    train(run, rows, validation, recipe, save=lambda run: snapshot.save(run, state) if state else None)
    return run.history


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write weights (fp32 safetensors), configs and tokenizer; greedy is the default way to sample."""
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False, eos_token_id=model.config.eos_token_id, pad_token_id=model.config.pad_token_id
    )
    model.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)


def evaluate(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, corpus: Corpus) -> dict[str, Score]:
    """Score and report the three sets of questions."""
    sets = {
        "handwritten": handwritten(),
        "held_out_templates": from_turns(corpus.held_out_templates),
        "held_out_operands": from_turns(corpus.held_out_operands),
    }
    scores = {name: score(model, tokenizer, questions) for name, questions in sets.items()}
    for name, result in scores.items():
        report(name, result)
    return scores


def both_cycles(
    corpus: Corpus, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, start: Path | None, state: Path | None
) -> tuple[LlamaForCausalLM, History, int]:
    """Train a new model, or `start` through the second cycle alone; also returns how many steps were planned."""
    encoder, pad_id, end_id = Encoder(tokenizer), token_id(tokenizer, PAD), token_id(tokenizer, END)
    held_out = [encoder.encode(Conversation((turn,))) for turn in corpus.held_out_templates]
    validation = collate(pack(held_out[:NUM_VALIDATION_QUESTIONS], SHORT_ROW_TOKENS), pad_id)
    first, second = lessons(corpus, encoder, recipe.batch_tokens, recipe.seed)
    if start:
        model, history = LlamaForCausalLM.from_pretrained(start), card.history_of(start)
        num_planned = history.num_steps + len(second)
    else:
        model = new_model(len(tokenizer), LONG_ROW_TOKENS, end_id, pad_id, recipe.seed)
        history = fit(model, first, validation, recipe, state and state / "first.safetensors")
        num_planned = len(first) + len(second)
    second_recipe = replace(recipe, peak=SECOND_PEAK)
    history = history.then(fit(model, second, validation, second_recipe, state and state / "second.safetensors"))
    return model, history, num_planned


def run(num_questions: int, num_held_out: int, recipe: Recipe, options: argparse.Namespace) -> None:
    """Everything from the corpus to the card."""
    corpus = generate(num_questions, num_held_out, recipe.seed)
    print(f"corpus: {num_questions} questions in {len(corpus.train)} conversations")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(options.start) if options.start else new_tokenizer(corpus)
    model, history, num_planned = both_cycles(corpus, tokenizer, recipe, options.start, options.state)
    save(model, tokenizer, options.out)
    settings = {"questions": num_questions, "planned_steps": num_planned, "second_peak": SECOND_PEAK, **asdict(recipe)}
    card.write(options.out, model.num_parameters(), history, evaluate(model, tokenizer, corpus), settings)


def main() -> None:
    """Parse the options and retrain."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=CHECKPOINT)
    parser.add_argument("--questions", type=int, default=160_000, help="questions to train on, each seen once")
    parser.add_argument("--held-out", type=int, default=2_000, help="questions to evaluate on")
    parser.add_argument("--minutes", type=float, help="stop here, learning rates fallen to zero, if that comes first")
    parser.add_argument("--start", type=Path, help="checkpoint to start the second cycle from, instead of the first")
    parser.add_argument("--state", type=Path, help="folder: save where the run stands, and go on there")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = Recipe(seed=options.seed, minutes=options.minutes)
    run(options.questions, options.held_out, recipe, options)


if __name__ == "__main__":
    main()
