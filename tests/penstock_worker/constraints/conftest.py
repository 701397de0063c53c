"""The pocket model's tokenizer, for llguidance and for people."""

import pytest
from fakes.word_checkpoints import EOS_TOKEN_ID, TOKENIZER_FILE, TOKENIZER_SIZE
from llguidance import LLTokenizer
from tokenizers import Tokenizer


@pytest.fixture(scope="session")
def ll_tokenizer() -> LLTokenizer:
    """As the mask process has it."""
    return LLTokenizer(str(TOKENIZER_FILE), n_vocab=TOKENIZER_SIZE, eos_token=[EOS_TOKEN_ID])


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """As the tokenizer service has it."""
    return Tokenizer.from_file(str(TOKENIZER_FILE))
