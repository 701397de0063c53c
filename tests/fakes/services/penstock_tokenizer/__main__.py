"""A tokenizer that is only ever healthy."""

import os

from fakes.tiny_service import serve

serve("tokenizer", os.environ["PENSTOCK_TOKENIZER_BIND"])
