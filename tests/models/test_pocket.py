"""The committed pocket checkpoint: loads offline, answers, and its card says what was measured."""

import json
import re
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

POCKET = Path(__file__).parents[2] / "models" / "pocket"
LARGEST_WEIGHTS_BYTES = 16_000_000
CONTROL_TOKENS = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer as any user loads it."""
    return AutoTokenizer.from_pretrained(POCKET, local_files_only=True)


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    """The model on one thread, in the dtype it is stored in."""
    torch.set_num_threads(1)
    return AutoModelForCausalLM.from_pretrained(POCKET, local_files_only=True)


@pytest.fixture(scope="module")
def metrics() -> dict:
    """What the training run wrote down."""
    return json.loads((POCKET / "metrics.json").read_text())


def reply(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, *messages: tuple[str, str]) -> str:
    """Greedy answer, by the checkpoint's own defaults, to (role, content) messages; fails if it does not end."""
    chat = [{"role": role, "content": content} for role, content in messages]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    prompt = tokenizer(text, return_tensors="pt", add_special_tokens=False)
    output = model.generate(**prompt, max_new_tokens=100)[0, prompt["input_ids"].shape[1] :]
    assert output[-1] == tokenizer.eos_token_id
    return tokenizer.decode(output, skip_special_tokens=True)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is the capital of France?", "The capital of France is Paris."),
        ("how much is 47 plus 38", "47 + 38 = 85."),
        ("What is the opposite of hot?", "The opposite of hot is cold."),
        ("What colour is grass?", "Grass is green."),
        ("How many legs does a spider have?", "A spider has 8 legs."),
        ("How many metres are in a kilometre?", "1 kilometre = 1000 metres."),
        ("Hello!", "Hello! How can I help you?"),
        ("Which port does the gateway use?", "The gateway listens on port 50051."),
    ],
)
def test_answers_one_question_of_every_domain(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, question: str, answer: str
) -> None:
    """A demo that answers nonsense convinces nobody, and every domain of the card must be in these weights."""
    assert reply(model, tokenizer, ("user", question)) == answer


def test_answers_the_last_question_of_a_conversation_with_a_system_message(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    """The template promises system messages and several turns, so the weights must have learned them."""
    answer = reply(
        model,
        tokenizer,
        ("system", "You are a helpful assistant."),
        ("user", "What is the capital of Italy?"),
        ("assistant", "The capital of Italy is Rome."),
        ("user", "What is 6 times 7?"),
    )
    assert answer == "6 * 7 = 42."


def test_recites_at_length_and_ends(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """Streaming tests and demos need an answer of some fifty tokens that is known in advance."""
    expected = ", ".join("ABCDEFGHIJKLMNOPQRSTUVWXYZ") + "."
    assert len(tokenizer.encode(expected)) > 50
    assert reply(model, tokenizer, ("user", "Recite the alphabet.")) == expected


def test_weights_are_one_small_safetensors_file() -> None:
    """The repository carries the weights, and nothing that needs unpickling."""
    weights = [path.name for path in POCKET.iterdir() if path.suffix in {".safetensors", ".bin", ".pt", ".pth", ".pkl"}]
    assert weights == ["model.safetensors"]
    assert (POCKET / "model.safetensors").stat().st_size <= LARGEST_WEIGHTS_BYTES


def test_control_tokens_are_single_special_tokens() -> None:
    """A control token that splits, or survives in decoded text, breaks the chat format for any reader of the file."""
    core = Tokenizer.from_file(str(POCKET / "tokenizer.json"))
    assert [core.encode(token).ids for token in CONTROL_TOKENS] == [[0], [1], [2], [3], [4]]
    assert core.decode([0, 1, 2, 3, 4], skip_special_tokens=True) == ""


def test_template_ends_every_message_and_opens_the_reply(tokenizer: PreTrainedTokenizerFast) -> None:
    """The weights know this one rendering; another one would still run, and answer worse."""
    messages = [
        {"role": "system", "content": " Be kind. "},
        {"role": "user", "content": "Hi!"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "Bye."},
    ]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert rendered == (
        "<|system|>Be kind.<|end|><|user|>Hi!<|end|><|assistant|>Hello!<|end|><|user|>Bye.<|end|><|assistant|>"
    )


@pytest.mark.parametrize("text", ["1234567890", "  spaced\n\tout  ", "Zürich, 東京 \U0001f600", "a<b>|c"])
def test_tokenizer_gives_any_text_back(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    """Byte-level BPE has no unknown token: what goes in must come out."""
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_card_reports_the_measured_figures(metrics: dict) -> None:
    """A card that is edited by hand, or left behind by a retraining, claims what nobody measured."""
    card = (POCKET / "README.md").read_text()
    rows = {
        title: re.search(rf"^\| {title} \| (\d+) of (\d+) \| ([\d.]+) % \|$", card, re.MULTILINE)
        for title in ("Held-out templates", "Held-out operands", "Hand-written questions")
    }
    claimed = {title: [float(figure) for figure in found.groups()] if found else None for title, found in rows.items()}
    sets = zip(claimed, ("held_out_templates", "held_out_operands", "handwritten"), strict=True)
    assert claimed == {
        title: [metrics["exact_match"][name][key] for key in ("num_correct", "num_questions", "percent")]
        for title, name in sets
    }


def test_card_states_size_and_effort(metrics: dict, model: PreTrainedModel) -> None:
    """The parameter count of the card is that of the weights beside it."""
    assert metrics["num_parameters"] == model.num_parameters()
    card = (POCKET / "README.md").read_text()
    assert f"{metrics['num_parameters']:,} parameters; {metrics['num_steps']:,} steps" in card


def test_handwritten_questions_stay_as_they_were_written(metrics: dict) -> None:
    """150 distinct questions were fixed before training; changing them would make the figure meaningless."""
    lines = (POCKET / "training" / "handwritten.jsonl").read_text().splitlines()
    questions = {json.loads(line)["question"] for line in lines}
    assert len(questions) == len(lines) == metrics["exact_match"]["handwritten"]["num_questions"] == 150
