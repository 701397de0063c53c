"""Names of token blocks. They are contract: gateway and worker may be of different releases."""

import struct
from hashlib import blake2b

from penstock_shared.prefix_chain import CHAIN_FUNCTION, PrefixBlock, prefix_blocks, root_hash

ROOT = root_hash(cache_salt=b"salt", revision="r1")


def test_chain_is_the_documented_one() -> None:
    """Written out from the words of worker.proto; whoever changes the function has to rename it."""
    assert CHAIN_FUNCTION == "penstock-blake2b-128-v1"
    root = blake2b(b"\4\0\0\0salt" + b"\2\0\0\0r1" + b"\0\0\0\0", digest_size=16).digest()
    assert root == ROOT
    first = blake2b(root + struct.pack("<2I", 1, 2), digest_size=16).digest()
    second = blake2b(first + struct.pack("<2I", 3, 2**32 - 1), digest_size=16).digest()
    assert list(prefix_blocks(root, [1, 2, 3, 2**32 - 1, 5], 2)) == [
        PrefixBlock(first, root, struct.pack("<2I", 1, 2)),
        PrefixBlock(second, first, struct.pack("<2I", 3, 2**32 - 1)),
    ]


def test_chain_goes_on_from_any_block() -> None:
    """A worker names the blocks of a growing sequence one by one."""
    whole = list(prefix_blocks(ROOT, range(12), 4))
    assert whole[2:] == list(prefix_blocks(whole[1].hash, range(8, 12), 4))


def test_whatever_decides_keys_and_values_decides_the_root() -> None:
    """Also where one part ends and the next begins."""
    roots = {
        root_hash(cache_salt=salt, revision=revision, adapter=adapter)
        for salt, revision, adapter in [
            (b"", "", ""),
            (b"a", "", ""),
            (b"", "a", ""),
            (b"", "", "a"),
            (b"ab", "c", ""),
            (b"a", "bc", ""),
        ]
    }
    assert len(roots) == 6
