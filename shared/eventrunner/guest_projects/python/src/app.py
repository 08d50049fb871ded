"""{{name}}: publishes a `flight.late` event for every flight that left an hour late or more."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import consumer, logging
from wit_world.imports.types import BrokerMessage

LATE_MINUTES = 60


class Handler(exports.Handler):
    def handle_message(self, msg: BrokerMessage) -> None:
        """`msg.body` is a CloudEvent in JSON. `raise Err("why")` has it tried again, and then kept as a dead letter."""
        event = json.loads(msg.body)
        flight = event.get("data")
        if not isinstance(flight, dict):
            raise Err(f"event {event['id']} has no flight as its data")
        delay = flight.get("dep_delay")
        if delay is None or delay < LATE_MINUTES:
            return
        logging.log(logging.Level.INFO, "{{name}}", f"flight {event['id']} left {delay} minutes late")
        publish(msg, "flight.late", {"flight": event["id"], "minutes": delay})


def publish(cause: BrokerMessage, event_type: str, data: object) -> None:
    """Publishes an event of the same tenant. Bytes that are no CloudEvent become the data of one."""
    stream, tenant, _ = cause.subject.split(".", 2)
    body = json.dumps(data).encode()
    consumer.publish(BrokerMessage(subject=f"{stream}.{tenant}.{event_type}", body=body, reply_to=None))
