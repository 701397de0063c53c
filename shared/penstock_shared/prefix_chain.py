"""Names for blocks of tokens, the same in gateways and workers: the chain function of `worker.v1.PrefixIndexSnapshot`.

A name is a hash of the block's tokens and of its parent's name, so it stands for all tokens from the first on. The
first block's parent is a root hash of whatever else decides keys and values, and of a salt: without the salt nobody can
tell what a name stands for, and equal prompts of different salts share no name.
"""

import struct
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

CHAIN_FUNCTION = "penstock-blake2b-128-v1"
HASH_BYTES = 16
_TOKEN_BYTES = 4


class PrefixBlock(NamedTuple):
    """A full block of tokens.

    Attributes:
        hash: its name.
        parent_hash: that of the block before it, or the root hash.
        token_bytes: its token ids, each as 4 bytes, little-endian.
    """

    hash: bytes
    parent_hash: bytes
    token_bytes: bytes


def root_hash(*, cache_salt: bytes, revision: str, adapter: str = "") -> bytes:
    """The parent of every first block.

    Args:
        cache_salt: who may share; see `worker.v1.SequenceGroup.cache_salt`.
        revision: of the model's weights.
        adapter: name and revision of what is added to them; empty where nothing is.
    """
    root = blake2b(digest_size=HASH_BYTES)
    for part in (cache_salt, revision.encode(), adapter.encode()):
        root.update(struct.pack("<I", len(part)))
        root.update(part)
    return root.digest()


def prefix_blocks(parent_hash: bytes, token_ids: Sequence[int], block_size: int) -> Iterator[PrefixBlock]:
    """The full blocks of `token_ids`, in order; a rest that fills no block has no name.

    Args:
        parent_hash: of the block before the first of these tokens, or the root hash.
        token_ids: each below 2**32.
        block_size: tokens of a block.
    """
    num_tokens = len(token_ids) // block_size * block_size
    token_bytes = struct.pack(f"<{num_tokens}I", *token_ids[:num_tokens])
    stride = block_size * _TOKEN_BYTES
    for begin in range(0, len(token_bytes), stride):
        block_bytes = token_bytes[begin : begin + stride]
        block_hash = blake2b(parent_hash + block_bytes, digest_size=HASH_BYTES).digest()
        yield PrefixBlock(block_hash, parent_hash, block_bytes)
        parent_hash = block_hash
