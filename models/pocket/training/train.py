"""Retrain the pocket model: corpus, tokenizer, training, evaluation and the figures of the card.

Run: `python models/pocket/training/train.py`

Writes the checkpoint, metrics.json, loss.png and the measured block of README.md into models/pocket.
"""

import argparse
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from random import Random

import card
import torch
from bpe import END, PAD, chat_ids, save_tokenizer, token_id, train_tokenizer
from corpus import Conversation, Corpus, generate
from evaluate import CHECKPOINT, Score, from_turns, handwritten, report, score
from packing import LONG_ROW_TOKENS, SHORT_ROW_TOKENS, Encoder, batches, collate, pack
from trainer import History, Recipe, new_model, train
from transformers import GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerFast

NUM_VALIDATION_QUESTIONS = 200
NUM_CHECKED_CONVERSATIONS = 500
TOKENIZER_CONVERSATIONS = 60_000


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


def fit(corpus: Corpus, tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> tuple[LlamaForCausalLM, History]:
    """Pack the corpus and train a new model on it."""
    encoder, pad_id, end_id = Encoder(tokenizer), token_id(tokenizer, PAD), token_id(tokenizer, END)
    rows = batches([encoder.encode(c) for c in corpus.train], recipe.batch_tokens, Random(recipe.seed))
    held_out = [encoder.encode(Conversation((turn,))) for turn in corpus.held_out_templates]
    validation = collate(pack(held_out[:NUM_VALIDATION_QUESTIONS], SHORT_ROW_TOKENS), pad_id)
    model = new_model(len(tokenizer), LONG_ROW_TOKENS, end_id, pad_id, recipe.seed)
    print(f"model: {model.num_parameters()} parameters, {len(rows)} steps")
    return model, train(model, rows, validation, pad_id, recipe)


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


def run(num_questions: int, num_held_out: int, recipe: Recipe, folder: Path) -> None:
    """Everything from the corpus to the card."""
    corpus = generate(num_questions, num_held_out, recipe.seed)
    print(f"corpus: {num_questions} questions in {len(corpus.train)} conversations")
    tokenizer = new_tokenizer(corpus)
    model, history = fit(corpus, tokenizer, recipe)
    save(model, tokenizer, folder)
    settings = {"questions": num_questions, **asdict(recipe)}
    card.write(folder, model.num_parameters(), history, evaluate(model, tokenizer, corpus), settings)


def main() -> None:
    """Parse the options and retrain."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=CHECKPOINT)
    parser.add_argument("--questions", type=int, default=160_000, help="questions to train on, each seen once")
    parser.add_argument("--held-out", type=int, default=2_000, help="questions to evaluate on")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    run(options.questions, options.held_out, Recipe(seed=options.seed), options.out)


if __name__ == "__main__":
    main()
