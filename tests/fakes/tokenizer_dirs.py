"""Small but real tokenizer directories, trained on the spot."""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SPECIAL_TOKENS = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
TOOL_TOKENS = ("<tool_call>", "</tool_call>", "<think>", "</think>")
_CORPUS = (
    "The capital of France is Paris, and the capital of Peru is Lima.",
    "You are a helpful assistant. user system assistant tool <|im_start|> im_end think tool_call",
    'def add(a, b):\n    return a + b  # {"name": "add", "arguments": {"a": 1}}',
    "Größe, façade, Привет, 日本語, 😀",
)


def write_tokenizer_dir(
    directory: Path,
    tokenizer: Tokenizer,
    *,
    template: str | list[dict[str, str]] | None = None,
    special_names: Mapping[str, str] | None = None,
) -> Path:
    """Writes tokenizer.json and tokenizer_config.json as transformers would."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(directory / "tokenizer.json"))
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"} if special_names is None else special_names
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", **names}
    if template is not None:
        config["chat_template"] = template
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    return directory


def byte_level_bpe() -> Tokenizer:
    """As GPT-2, Llama 3 and Qwen: bytes spelled as letters; special tokens and ordinary added tokens beside them."""
    tokenizer = Tokenizer.from_str(_trained_byte_level_bpe())
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in (*TOOL_TOKENS, "        ")])
    return tokenizer


def unigram_with_byte_fallback() -> Tokenizer:
    """As newer conversions of Llama 2 and Mistral: `▁` for spaces, byte tokens, one space put before the first word."""
    return _without_special_bytes(
        _unigram([*SPECIAL_TOKENS, *_byte_tokens()], splits_words=False), decoder=_sentencepiece_decoder()
    )


def unigram_with_metaspace_decoder() -> Tokenizer:
    """As T5 and XLM-R: the control tokens are pieces of the model's own vocabulary, the decoder is a plain one."""
    tokenizer = _unigram(SPECIAL_TOKENS, splits_words=True)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    return tokenizer


def bpe_with_prepending_normalizer() -> Tokenizer:
    """As older conversions of Llama 2: a normalizer puts `▁` before every stretch of text."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    specials = [*SPECIAL_TOKENS, *_byte_tokens()]
    trainer = trainers.BpeTrainer(vocab_size=520, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(_CORPUS * 4, trainer)
    return _without_special_bytes(tokenizer, decoder=_sentencepiece_decoder())


def word_piece() -> Tokenizer:
    """As BERT: its decoder puts spaces between words and cleans up punctuation, so no table expresses it."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=list(SPECIAL_TOKENS), show_progress=False)
    tokenizer.train_from_iterator(_CORPUS * 4, trainer)
    tokenizer.decoder = decoders.WordPiece(cleanup=True)
    return tokenizer


MAKERS = {
    "byte_level_bpe": byte_level_bpe,
    "unigram_with_byte_fallback": unigram_with_byte_fallback,
    "unigram_with_metaspace_decoder": unigram_with_metaspace_decoder,
    "bpe_with_prepending_normalizer": bpe_with_prepending_normalizer,
    "word_piece": word_piece,
}
EXPRESSIBLE = tuple(kind for kind in MAKERS if kind != "word_piece")
"""Kinds whose vocabulary a table of bytes expresses."""


@functools.cache
def _trained_byte_level_bpe() -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=alphabet, special_tokens=list(SPECIAL_TOKENS[1:]), show_progress=False
    )
    tokenizer.train_from_iterator(_CORPUS * 4, trainer)
    return str(tokenizer.to_str())


def _unigram(special_tokens: Sequence[str], *, splits_words: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=splits_words)
    trainer = trainers.UnigramTrainer(
        vocab_size=len(special_tokens) + 200,
        special_tokens=list(special_tokens),
        unk_token="<unk>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS * 4, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def _without_special_bytes(tokenizer: Tokenizer, *, decoder: decoders.Decoder) -> Tokenizer:
    """Trainers can only be given byte tokens as special ones; here they become the ordinary pieces that they are."""
    document = json.loads(tokenizer.to_str())
    document["added_tokens"] = [token for token in document["added_tokens"] if token["content"] in SPECIAL_TOKENS]
    document["model"]["byte_fallback"] = True
    changed = Tokenizer.from_str(json.dumps(document))
    changed.decoder = decoder
    return changed


def _sentencepiece_decoder() -> decoders.Decoder:
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    return decoders.Sequence(steps)


def _byte_tokens() -> list[str]:
    return [f"<0x{byte:02X}>" for byte in range(256)]
