"""Rounds of faults: each kind comes once before any comes twice. A new kind of fault is a line in `rounds`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from tests.pipeline.faults.disturbances import BadSink, ClockJump, FullStream, KillWriter
from tests.pipeline.faults.faults import (
    GATEWAY,
    SERVERS,
    Deploy,
    Fault,
    Kill,
    KillCassandra,
    KillEverything,
    KillSome,
    Pause,
    Terminate,
)
from tests.pipeline.faults.proxy import MISBEHAVIOURS

__all__ = ["Parts", "rounds"]


@dataclass(frozen=True, slots=True)
class Parts:
    """What there is to strike, as the manifests say."""

    functions: Sequence[str]
    idle: Mapping[str, str]
    """Functions that nothing asks on one machine → why."""
    sinks: Sequence[str]
    """Functions that a source feeds."""
    streams: Sequence[str]


def rounds(parts: Parts, random: Random) -> Iterator[list[Fault]]:
    """Without end. Where a kind may strike one of several parts, another one comes in each round until all had it."""
    everything = (*parts.functions, *SERVERS)
    terminated = _shuffled(parts.functions, random)
    paused = _shuffled((*everything, GATEWAY), random)
    sinks = _shuffled(parts.sinks, random)
    filled = _shuffled(parts.streams, random)
    number = 0
    while True:
        faults: list[Fault] = [Kill(part) for part in everything]
        faults += [Kill(part, absent=why) for part, why in parts.idle.items()]
        # Neighbours in the list of sinks, so that over the rounds each sink behaves in each way.
        faults += [BadSink(how, sinks[(number + place) % len(sinks)]) for place, how in enumerate(MISBEHAVIOURS)]
        faults += [FullStream(stream) for stream in parts.streams]
        faults.append(KillWriter(filled[number % len(filled)]))
        faults += [Terminate(terminated[number % len(terminated)]), Pause(paused[number % len(paused)])]
        faults.append(KillSome(tuple(random.sample(everything, random.randint(2, 4)))))
        faults += [Deploy(), KillEverything(), KillCassandra(), ClockJump()]
        random.shuffle(faults)
        yield faults
        number += 1


def _shuffled(items: Sequence[str], random: Random) -> list[str]:
    return random.sample(items, len(items))
