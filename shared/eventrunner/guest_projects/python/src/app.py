"""{{name}}: publishes a `flight.late` event for every flight that left an hour late or more."""

import json

import guest
from wit_world import exports
from wit_world.imports import consumer
from wit_world.imports.types import BrokerMessage

LATE_MINUTES = 60


class Handler(exports.Handler):
    def handle_message(self, msg: BrokerMessage) -> None:
        with guest.call():
            handle(msg)


def handle(msg: BrokerMessage) -> None:
    """`msg.body` is a CloudEvent in JSON. An exception has it tried again, and then kept as a dead letter."""
    event = json.loads(msg.body)
    minutes = event["data"].get("dep_delay")
    if minutes is None or minutes < LATE_MINUTES:
        return
    print(f"flight {event['id']} left {minutes} minutes late")
    publish(msg, "flight.late", {"flight": event["id"], "minutes": minutes})


def publish(cause: BrokerMessage, event_type: str, data: object) -> None:
    """Publishes an event of the same tenant. Bytes that are no CloudEvent become the data of one."""
    stream, tenant, _ = cause.subject.split(".", 2)
    body = json.dumps(data).encode()
    consumer.publish(BrokerMessage(subject=f"{stream}.{tenant}.{event_type}", body=body, reply_to=None))
