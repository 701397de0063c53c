"""A small random checkpoint that has the pocket model's tokenizer: its outputs are text, of no sense at all."""

import shutil
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

POCKET = Path(__file__).parents[2] / "models" / "pocket"
TOKENIZER_FILE = POCKET / "tokenizer.json"
EOS_TOKEN_ID = 1
VOCAB_SIZE = 2112  # more than the tokenizer has: checkpoints pad theirs
TOKENIZER_SIZE = 2048


def save_word_checkpoint(model_dir: Path) -> Path:
    """Writes the checkpoint to `model_dir` and returns it."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        bos_token_id=None,
        eos_token_id=EOS_TOKEN_ID,
        pad_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(model_dir)
    shutil.copy(TOKENIZER_FILE, model_dir)
    return model_dir
