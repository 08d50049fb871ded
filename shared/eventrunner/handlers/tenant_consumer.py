"""A tenant's consumer: each event of the batch through its guest, what that publishes, what it used, what failed."""

from __future__ import annotations

import time

from eventrunner.errors import Forbidden
from eventrunner.handlers.consumer_guest import ActiveGuest
from eventrunner.handlers.consumer_publishing import Policy, Publishing
from eventrunner.handlers.consumer_run import Attempted, Item, Run, Waiting
from eventrunner.handlers.consumer_turns import Turns
from eventrunner.handlers.consumer_usage import usage_of
from eventrunner.stage import Batch, Outcomes

__all__ = ["TenantConsumer"]


class TenantConsumer:
    """Safe to share between threads. An empty batch only makes sure that the guest can be run."""

    def __init__(
        self,
        guest: ActiveGuest,
        policy: Policy,
        attempted: Attempted,
        max_event_bytes: int,
        clock: Waiting = time,
    ) -> None:
        """`max_event_bytes`: of what a guest publishes."""
        self._guest = guest
        self._policy = policy
        self._attempted = attempted
        self._max_event_bytes = max_event_bytes
        self._clock = clock
        self._turns = Turns()

    def __call__(self, batch: Batch) -> Outcomes:
        """Raises Unavailable while the consumer cannot be run, Forbidden for events of another tenant."""
        loaded = self._guest.get()
        tenant, name, wanted = loaded.record.tenant, loaded.record.name, loaded.record.subscription
        events = batch.events
        if any(event.tenantid != tenant for event in events):
            raise Forbidden(f"An event of the batch is of another tenant than {tenant}, whose consumer {name} is.")
        publishing = Publishing(self._policy, tenant, name, self._max_event_bytes)
        with self._turns.turn() as turn:
            run = Run(loaded.host, publishing, self._attempted, turn, wanted.stream, self._clock)
            items = run.handle(events, ordered=wanted.ordered)
        outcomes = Outcomes(handled=len(items) if len(items) < len(events) else None)
        for item in items:
            _add(item, name, outcomes)
        return outcomes


def _add(item: Item, consumer: str, outcomes: Outcomes) -> None:
    usage = usage_of(item, consumer)
    if usage is not None:
        outcomes.usage.append(usage)
    if item.failure is not None:
        outcomes.fail(item.event, *item.failure, item.attempts)
    outcomes.derived += item.published
