"""The pocket tokenizer: byte-level BPE with single digits, control tokens and a chat template."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD, END, SYSTEM, USER, ASSISTANT = "<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"
CONTROL_TOKENS = (PAD, END, SYSTEM, USER, ASSISTANT)
VOCABULARY_SIZE = 2048
LOADING_OPTIONS = ("is_local", "local_files_only")
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- if message['role'] not in ['system', 'user', 'assistant'] -%}
{{- raise_exception('Only the roles system, user and assistant are supported.') -}}
{%- elif message['role'] == 'system' and not loop.first -%}
{{- raise_exception('A system message must come first.') -}}
{%- endif -%}
{{- '<|' + message['role'] + '|>' + message['content'] | trim + '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|assistant|>' -}}
{%- endif -%}
"""


def train_tokenizer(texts: Iterable[str], context_length: int) -> PreTrainedTokenizerFast:
    """Learn the merges from `texts`. Digits stay single, so that arithmetic sees place values."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=list(CONTROL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        model_max_length=context_length,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Save under the class name that every release of transformers knows, and without how it was loaded."""
    tokenizer.save_pretrained(folder)
    config = folder / "tokenizer_config.json"
    settings = json.loads(config.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    settings = {name: value for name, value in settings.items() if name not in LOADING_OPTIONS}
    config.write_text(json.dumps(settings, indent=2) + "\n")


def token_id(tokenizer: PreTrainedTokenizerFast, name: str) -> int:
    """Id of a control token."""
    found = tokenizer.convert_tokens_to_ids(name)
    assert isinstance(found, int), name
    return found


def chat_ids(tokenizer: PreTrainedTokenizerFast, messages: Sequence[dict[str, str]], *, opens_reply: bool) -> list[int]:
    """Ids of messages as the chat template renders them; `opens_reply` lets the assistant speak next."""
    text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=opens_reply)
    return tokenizer.backend_tokenizer.encode(str(text)).ids
