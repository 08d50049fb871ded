"""How many replicas a service should have, as Knative's autoscaler decides it.

The requests in flight, averaged over a window, divided by what one replica should hold. A sudden rise is seen in a
shorter window; while that panic lasts, nothing is stopped. To zero only after a whole window without a request.
https://knative.dev/docs/serving/autoscaling/kpa-specific/
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

__all__ = ["Autoscaler", "Scaling"]

_MAX_SCALE_DOWN_RATE = 2.0


@dataclass(frozen=True, slots=True)
class Scaling:
    target: float = 70.0
    """Requests in flight aimed at per replica."""
    min_scale: int = 0
    max_scale: int = 0
    """0 for no limit."""
    window: float = 60.0
    """Seconds."""
    panic_window: float = 6.0
    panic_threshold: float = 2.0
    """Panic begins when this many times the replicas that there are would be needed."""
    retention: float = 0.0
    """Seconds that the last replica stays on after the decision for zero."""

    def clamp(self, replicas: int) -> int:
        return max(self.min_scale, min(replicas, self.max_scale) if self.max_scale else replicas)


class Autoscaler:
    """Told of every change in the number of requests in flight; times are seconds of any one clock."""

    def __init__(self, scaling: Scaling, now: float) -> None:
        self.scaling = scaling
        self.in_flight = 0
        self._busy = 0.0
        """Request-seconds so far: the integral of `in_flight`."""
        self._changed = now
        self._idle_since = now
        self._samples: deque[tuple[float, float]] = deque([(now, 0.0)])
        """(time, request-seconds until then), one for each decision, as far back as the window reaches."""
        self._panic_until = -math.inf
        self._panic_peak = 0

    def change(self, now: float, by: int) -> None:
        self._busy += self.in_flight * (now - self._changed)
        self._changed = now
        self.in_flight += by
        if not self.in_flight:
            self._idle_since = now

    def desired(self, now: float, ready: int) -> int:
        """Replicas wanted now, given those that are ready. Called about once a second."""
        self._sample(now)
        if not self.in_flight and now - self._idle_since >= self.scaling.window:
            keep = now - self._idle_since < self.scaling.window + self.scaling.retention
            return self.scaling.clamp(min(ready, 1) if keep else 0)
        stable = self._replicas_for(self._average(now, self.scaling.window))
        panic = self._replicas_for(self._average(now, self.scaling.panic_window))
        if panic >= self.scaling.panic_threshold * max(ready, 1):
            self._panic_until = now + self.scaling.window
        if now < self._panic_until:
            self._panic_peak = max(self._panic_peak, panic, ready)
            return self.scaling.clamp(self._panic_peak)
        self._panic_peak = 0
        return self.scaling.clamp(max(stable, 1, int(ready / _MAX_SCALE_DOWN_RATE)))

    def _replicas_for(self, concurrency: float) -> int:
        return math.ceil(concurrency / self.scaling.target - 1e-9)

    def _sample(self, now: float) -> None:
        self.change(now, 0) if self.in_flight else None
        self._samples.append((now, self._busy))
        while len(self._samples) > 2 and self._samples[1][0] <= now - self.scaling.window:
            self._samples.popleft()

    def _average(self, now: float, window: float) -> float:
        """Requests in flight over the window, or over as much of it as there was."""
        start, busy = self._samples[0]
        for moment, amount in self._samples:
            if moment > now - window:
                break
            start, busy = moment, amount
        # Nobody decides, so nothing is sampled, while a service is at zero: that time does not dilute a sudden rise.
        return (self._busy - busy) / max(min(now - start, window + 1.0), 1.0)
