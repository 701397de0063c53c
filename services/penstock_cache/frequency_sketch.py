"""How often something came lately, for any number of things in a fixed space."""

from hashlib import blake2b

_NUM_ROWS = 4
_MAX_COUNT = 15
# Counts are halved after this many additions for each place of a row, so that what was popular once is forgotten.
_SAMPLES_PER_PLACE = 10
_HALVES = bytes(count // 2 for count in range(256))


class FrequencySketch:
    """A count-min sketch (Cormode & Muthukrishnan 2005) whose counts age; an estimate is never below the aged count.

    Args:
        width: places of a row; a power of two, about the number of things whose counts are to be told apart.
    """

    def __init__(self, width: int) -> None:
        assert width & (width - 1) == 0
        self._rows = [bytearray(width) for _ in range(_NUM_ROWS)]
        self._max_additions = _SAMPLES_PER_PLACE * width
        self._num_additions = 0

    def add(self, name: bytes) -> None:
        """It has come once more; counts end at 15."""
        places = self._places(name)
        least = min(row[place] for row, place in zip(self._rows, places, strict=True))
        if least < _MAX_COUNT:
            for row, place in zip(self._rows, places, strict=True):
                row[place] = max(row[place], least + 1)
        self._num_additions += 1
        if self._num_additions >= self._max_additions:
            self._rows = [row.translate(_HALVES) for row in self._rows]
            self._num_additions //= 2

    def estimate(self, name: bytes) -> int:
        """How often it came lately, at most 15."""
        return min(row[place] for row, place in zip(self._rows, self._places(name), strict=True))

    def _places(self, name: bytes) -> list[int]:
        digest = blake2b(name, digest_size=4 * _NUM_ROWS).digest()
        width = len(self._rows[0])
        return [int.from_bytes(digest[first : first + 4], "little") % width for first in range(0, 4 * _NUM_ROWS, 4)]
