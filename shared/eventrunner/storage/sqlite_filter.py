"""A Bloom filter of integers: which keys are certainly not there.

Each key sets three bits of one cell of 16, so a key that is not there mostly takes one look at one cell; what counts in
Python is the number of operations for a key. Putze, Sanders, Singler: Cache-, Hash- and Space-Efficient Bloom Filters
(2007), https://doi.org/10.1007/978-3-540-72845-0_9
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import combinations

__all__ = ["KeyFilter"]

_LEAST_CELLS = 1 << 22
_CELLS_PER_KEY = 4
"""At least. Some 0.3 % of other keys pass a filter of 3 million keys that grew with them, fewer one that was made for
them; what passes is looked up in every run, which costs more than the bits."""
_PATTERNS = tuple(sum(1 << bit for bit in bits) for bits in combinations(range(16), 3))


class KeyFilter:
    """Of 64-bit keys, which are hashes."""

    def __init__(self, expected: int = 0) -> None:
        size = max(_LEAST_CELLS, 1 << (expected * _CELLS_PER_KEY).bit_length())
        self._cells = array("H", bytes(2 * size))
        self._count = 0

    def add(self, keys: Sequence[int]) -> None:
        self._count += len(keys)
        while self._count * _CELLS_PER_KEY > len(self._cells):
            # The old keys are in both halves then, so none needs to be read again.
            self._cells *= 2
        cells, last = self._cells, len(self._cells) - 1
        for key in keys:
            cells[key & last] |= _PATTERNS[(key >> 40) % len(_PATTERNS)]

    def passing(self, keys: Iterable[int]) -> list[int]:
        """Those that may have been added: all that were, and a few others."""
        cells, last = self._cells, len(self._cells) - 1
        taken = [key for key in keys if cells[key & last]]
        return [key for key in taken if not _PATTERNS[(key >> 40) % len(_PATTERNS)] & ~cells[key & last]]
