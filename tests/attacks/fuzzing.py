"""Mutated WebAssembly through all that a tenant's file comes through: `python -m tests.attacks.fuzzing --help`.

Whatever comes in, it is refused with InvalidInput or its call has an outcome; a signature that is found valid is of all
the bytes that are there. Each file is made from the seed and its number, so that one that was told can be made again.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Final

from eventrunner.errors import InvalidInput
from eventrunner.storage.records import Limits
from eventrunner.wasm.binary import read_module
from eventrunner.wasm.engine import shared_engine
from eventrunner.wasm.host import Host
from eventrunner.wasm.loading import load_guest
from eventrunner.wasm.modules import ModuleCache
from eventrunner.wasm.outcomes import Message
from eventrunner.wasm.sections import leb, read_sections
from eventrunner.wasm.signing import SecretKey, sign, verify
from support_guests import component_guest, wapc_guest

from tests.attacks.components import guest
from tests.unit.wasm.test_wapc_guest import written

__all__ = ["SEED", "mutated", "originals"]

SEED: Final = 20261129
LIMITS: Final = Limits(fuel=1_000_000, milliseconds=200, memory_bytes=4 * 1024 * 1024, publishes=10)
KEY: Final = SecretKey(bytes(32))
WORDS: Final = ("echo", "refuse", "publish-times", "grow")
SPECIAL: Final = (
    b"\xff",
    b"\0",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff\x0f",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
)
ACTOR: Final = """
  (call $request (i32.const 0) (i32.const 64)) (call $log (i32.const 0) (local.get 0))
  (call $error (i32.const 64) (local.get 1)) (i32.const 0)"""


def originals() -> list[bytes]:
    """Small ones most, as those are quickest; the last two are signed."""
    small = [guest(handle="(call $random) (call $publish)"), guest(start="(call $publish)"), written(ACTOR)]
    # More data than are copied into each instance.
    data = f'(data (i32.const 0) "{"data " * 15_000}")'
    large = [component_guest(), wapc_guest(), written(ACTOR, data, '(memory (export "memory") 2)')]
    return [*small, *small, *large, sign(small[0], KEY), sign(small[2], KEY)]


def mutated(seeds: list[bytes], seed: int, number: int) -> tuple[bytes, bytes]:
    """The number's file, and what it was made from."""
    dice = random.Random(f"{seed}-{number}")
    original = dice.choice(seeds)
    if dice.random() < 0.7:
        return _changed_within(original, dice, seeds), original
    return _changed(original, dice, seeds), original


def _changed_within(code: bytes, dice: random.Random, seeds: list[bytes]) -> bytes:
    """With a section changed, of whatever is nested in it, and the sizes of those around it right."""
    sections = list(read_sections(code))
    weights = [section.end - section.start for section in sections]
    (chosen,) = dice.choices(sections, weights)
    content = code[chosen.content : chosen.end]
    nests = content.startswith(b"\0asm") and dice.random() < 0.95
    content = _changed_within(content, dice, seeds) if nests else _changed(content, dice, seeds)
    return code[: chosen.start + 1] + leb(len(content)) + content + code[chosen.end :]


def _changed(original: bytes, dice: random.Random, seeds: list[bytes]) -> bytes:
    code = bytearray(original)
    for _ in range(dice.choice((1, 1, 1, 2, 3, 8))):
        _change(code, dice, seeds)
    return bytes(code)


def _change(code: bytearray, dice: random.Random, seeds: list[bytes]) -> None:
    at = dice.randrange(len(code)) if code else 0
    length = dice.choice((1, 1, 2, 4, 16, 200))
    match dice.randrange(8):
        case 0 if code:
            code[at] ^= 1 << dice.randrange(8)
        case 1 if code:
            code[at] = dice.randrange(256)
        case 2:
            special = dice.choice(SPECIAL)
            code[at : at + len(special)] = special
        case 3:
            code[at:at] = dice.randbytes(length)
        case 4:
            del code[at : at + length]
        case 5:
            code[at:at] = code[at : at + length]
        case 6:
            other = dice.choice(seeds)
            begin = dice.randrange(len(other))
            code[at : at + length] = other[begin : begin + length]
        case _:
            if dice.random() < 0.2:
                del code[at:]


def _try(code: bytes, original: bytes) -> str:
    """What became of it. Raises what nobody expects."""
    with contextlib.suppress(InvalidInput):
        verify(code, [KEY.public])
        assert _body(code) == _body(original), "a signature is valid of what was not signed"
    try:
        read_module(code)
        loaded = load_guest(shared_engine(), ModuleCache(shared_engine(), compiler=None), code)
    except InvalidInput as refusal:
        return " ".join(refusal.detail.split()[:5])
    host, outcomes = Host(shared_engine(), loaded, LIMITS, "reuse"), []
    for word in WORDS:
        outcomes.append(type(host.handle(Message(f"results.acme.{word}", b"12")).outcome).__name__)
    host.close()
    return outcomes[-1]


def _body(code: bytes) -> bytes:
    """What follows the signature section."""
    return code[next(read_sections(code)).end :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--keep", type=Path, help="write the first file there, before it is tried")
    parser.add_argument("--seconds-each", type=float, default=60, help="after which one has hung")
    given = parser.parse_args()
    seeds, counts, began, slowest = originals(), Counter[str](), time.monotonic(), (0.0, 0)
    for number in range(given.first, given.first + given.count):
        code, original = mutated(seeds, given.seed, number)
        if given.keep:
            given.keep.write_bytes(code)
            given.keep = None
        print(number, file=sys.stderr, flush=True)
        # Of the whole process: a compiler that hangs heeds no signal.
        faulthandler.dump_traceback_later(given.seconds_each, exit=True)
        start = time.thread_time()
        counts[_try(code, original)] += 1
        slowest = max(slowest, (time.thread_time() - start, number))
    faulthandler.cancel_dump_traceback_later()
    print(f"seed {given.seed}: {given.count} files in {time.monotonic() - began:.0f} s; slowest {slowest}")
    for what, count in counts.most_common(12):
        print(f"{count:8} {what}")


if __name__ == "__main__":
    main()
