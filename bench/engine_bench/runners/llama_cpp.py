"""llama.cpp: its C interface, all sequences in one batch. Runs in its own environment."""

import ctypes
import itertools
import os
from typing import NamedTuple

import llama_cpp
import numpy as np
from engine_bench.lines import Generate, Options, Prompts, Stopwatch, Times, serve

_BATCH_TOKENS = 2048


class Token(NamedTuple):
    """A token to compute. `is_sampled`: another one is to follow it."""

    sequence: int
    position: int
    token_id: int
    is_sampled: bool = False


class Context:
    """A model and its cache, with one sequence of it for each prompt.

    It has no scheduler: the prompts go in first, as many tokens at a time as a batch holds, then all decode together. A
    prefix that all prompts share is computed once and its cache cells are shared, by llama.cpp's own call for that.
    """

    def __init__(self, options: Options) -> None:
        llama_cpp.llama_backend_init()
        path = options.model_dir / f"{options.precision}.gguf"
        self._model = llama_cpp.llama_model_load_from_file(os.fsencode(path), llama_cpp.llama_model_default_params())
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = options.max_num_tokens * options.max_num_sequences
        parameters.n_batch = _BATCH_TOKENS
        parameters.n_seq_max = options.max_num_sequences
        parameters.n_threads = parameters.n_threads_batch = options.num_threads
        parameters.kv_unified = True
        self._context = llama_cpp.llama_init_from_model(self._model, parameters)
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._vocab_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        self._batch = llama_cpp.llama_batch_init(_BATCH_TOKENS, 0, 1)

    def clear(self) -> None:
        """Forgets all sequences."""
        llama_cpp.llama_memory_clear(self._memory, True)

    def share(self, num_sequences: int) -> None:
        """What sequence 0 has, all have."""
        for sequence in range(1, num_sequences):
            llama_cpp.llama_memory_seq_cp(self._memory, 0, sequence, -1, -1)

    def decode(self, tokens: list[Token]) -> dict[int, int]:
        """Computes one batch and returns the sampled token of each sequence that has one."""
        batch = self._batch
        batch.n_tokens = len(tokens)
        for row, token in enumerate(tokens):
            batch.token[row], batch.pos[row] = token.token_id, token.position
            batch.n_seq_id[row], batch.seq_id[row][0] = 1, token.sequence
            batch.logits[row] = token.is_sampled
        if llama_cpp.llama_decode(self._context, batch):
            raise RuntimeError("llama_decode failed")
        return {token.sequence: self._most_likely(row) for row, token in enumerate(tokens) if token.is_sampled}

    def _most_likely(self, row: int) -> int:
        logits = llama_cpp.llama_get_logits_ith(self._context, row)
        values = ctypes.cast(logits, ctypes.POINTER(ctypes.c_float * self._vocab_size)).contents
        return int(np.frombuffer(values, np.float32).argmax())


def _num_common(prompts: Prompts) -> int:
    """Length of the prefix of all prompts, without any prompt's last token: its output is to be sampled."""
    columns = zip(*(prompt[:-1] for prompt in prompts), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda column: len(set(column)) == 1, columns))


def load(options: Options) -> tuple[str, Generate]:
    """Greedy; int8 is q8_0. Keys and values are fp16, its default."""
    context = Context(options)

    def generate(prompts: Prompts, num_tokens: int) -> Times:
        watch = Stopwatch(len(prompts))
        context.clear()
        num_shared = _num_common(prompts) if len(prompts) > 1 else 0
        if num_shared:
            context.decode([Token(0, position, prompts[0][position]) for position in range(num_shared)])
            context.share(len(prompts))
        fed = [
            Token(index, position, prompt[position], is_sampled=position == len(prompt) - 1)
            for index, prompt in enumerate(prompts)
            for position in range(num_shared, len(prompt))
        ]
        for step in range(num_tokens):
            sampled: dict[int, int] = {}
            for begin in range(0, len(fed), _BATCH_TOKENS):
                found = context.decode(fed[begin : begin + _BATCH_TOKENS])
                for index in found:
                    watch.note(index)
                sampled |= found
            fed = [
                Token(index, len(prompts[index]) + step, token_id, is_sampled=True)
                for index, token_id in sampled.items()
            ]
        return watch.times

    return f"llama.cpp (llama-cpp-python {llama_cpp.__version__})", generate


if __name__ == "__main__":
    serve(load)
