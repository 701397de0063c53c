"""A Hugging Face encoder: mean over its last layer. With `bert_pass`, all of the cache that imports torch."""

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from penstock_cache.semantic.bert_pass import BertPass
from penstock_cache.semantic.encoder import Detail, EncodedTokens, UnreadablePromptError
from penstock_cache.semantic.prompts import EncodedPrompt
from penstock_shared.errors import FailedPreconditionError

# Of how vectors are made here; another number says that those of before are not to be compared with.
_FORM = "mean-1"
_TOKENIZER_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt")


class TransformerEncoder:
    """Encodes batches on the calling thread. `EncoderModel` has the contract.

    A prompt that the model does not see whole, for its length or for characters that the vocabulary lacks, gets no
    vector: two prompts that differ there would look the same.

    Args:
        directory: with config.json, safetensors and a fast tokenizer. Code that lies there is never run.
        max_tokens: longest prompt, special tokens included.
        num_threads: of this process's torch.
        detail: makes what the verifier keeps of a prompt; None: nothing.

    Attributes:
        fingerprint: of weights, tokenizer, settings and the form of the detail.
        dimension: of the vectors.

    Raises:
        FailedPreconditionError: the directory holds no such encoder.
    """

    def __init__(self, directory: Path, *, max_tokens: int, num_threads: int, detail: Detail | None = None) -> None:
        torch.set_num_threads(num_threads)
        self._tokenizer, model = _load(directory)
        self._pass = BertPass(model) if BertPass.is_readable(model) else partial(_states, model)
        self._max_tokens = min(max_tokens, model.config.max_position_embeddings)
        self._detail = detail
        self.dimension: int = model.config.hidden_size
        self.fingerprint = _fingerprint(
            directory, f"{_FORM} {self._max_tokens} {detail.fingerprint if detail is not None else ''}"
        )

    def run(self, texts: Sequence[str]) -> list[EncodedPrompt | UnreadablePromptError]:
        """One result for each text, in order; one pass of the model for all of them."""
        # One token more than may be, so that a longer one shows.
        encodings = self._tokenizer(
            list(texts), truncation=True, max_length=self._max_tokens + 1, return_offsets_mapping=True
        )
        results: list[EncodedPrompt | UnreadablePromptError | None] = [
            self._complaint(ids) for ids in encodings["input_ids"]
        ]
        rows = [row for row, result in enumerate(results) if result is None]
        all_states = self._states([encodings["input_ids"][row] for row in rows])
        for row, states in zip(rows, all_states, strict=True):
            tokens = EncodedTokens(
                texts[row],
                np.asarray(encodings["input_ids"][row], np.int64),
                np.asarray(encodings["offset_mapping"][row], np.int64),
                states,
            )
            results[row] = self._encoded(tokens)
        return [result for result in results if result is not None]

    def _complaint(self, ids: Sequence[int]) -> UnreadablePromptError | None:
        if len(ids) > self._max_tokens:
            return UnreadablePromptError(
                f"the prompt is longer than the {self._max_tokens} tokens that the encoder reads"
            )
        if self._tokenizer.unk_token_id is not None and self._tokenizer.unk_token_id in ids:
            return UnreadablePromptError("the prompt has characters that the encoder does not know")
        return None

    def _states(self, ids: list[list[int]]) -> list[NDArray[np.float32]]:
        """[num_layers + 1, num_tokens, dimension] of each, special tokens included; without a detail the last layer."""
        if not ids:
            return []
        batch = self._tokenizer.pad({"input_ids": ids}, return_tensors="pt")
        with torch.inference_mode():
            layers = self._pass(batch["input_ids"], batch["attention_mask"].bool())
        stacked = torch.stack(layers if self._detail is not None else layers[-1:], dim=1).numpy()
        return [stacked[row, :, : len(each)] for row, each in enumerate(ids)]

    def _encoded(self, tokens: EncodedTokens) -> EncodedPrompt:
        mean = tokens.states[-1].mean(axis=0)
        vector = np.asarray(mean / np.linalg.norm(mean), np.float32)
        if self._detail is None:
            return EncodedPrompt(tokens.text, vector, b"")
        is_text = tokens.spans[:, 1] > tokens.spans[:, 0]  # special tokens have empty spans
        own = EncodedTokens(tokens.text, tokens.ids[is_text], tokens.spans[is_text], tokens.states[:, is_text])
        return EncodedPrompt(tokens.text, vector, self._detail.detail(own))


def _load(directory: Path) -> tuple[Any, Any]:
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    own = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, use_fast=True, **own)
        model = AutoModel.from_pretrained(directory, use_safetensors=True, dtype=torch.float32, **own)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise FailedPreconditionError(f"no encoder can be loaded from {directory}: {reason}") from error
    if not tokenizer.is_fast or tokenizer.pad_token_id is None:
        raise FailedPreconditionError(f"the encoder in {directory} has no fast tokenizer that pads")
    return tokenizer, model.eval()


def _states(model: Any, ids: torch.Tensor, is_token: torch.Tensor) -> list[torch.Tensor]:
    """What `BertPass` gives, of any other encoder."""
    output = model(input_ids=ids, attention_mask=is_token.long(), output_hidden_states=True)
    return [layer.float() for layer in output.hidden_states]


def _fingerprint(directory: Path, settings: str) -> str:
    """SHA-256 over all that decides what a vector looks like."""
    digest = hashlib.sha256(settings.encode())
    for path in sorted([*directory.glob("*.safetensors"), *(directory / name for name in _TOKENIZER_FILES)]):
        if path.is_file():
            digest.update(path.name.encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
