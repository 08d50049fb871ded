"""delay-report: publishes a `flight.delay.report` event for every 20 flights of a carrier."""

import json

import guest
from delays import Windows
from wit_world import exports
from wit_world.imports import consumer
from wit_world.imports.types import BrokerMessage

# One instance is handed event after event (--instance reuse), and this lives as long as it does.
windows = Windows(size=20)


class Handler(exports.Handler):
    def handle_message(self, msg: BrokerMessage) -> None:
        with guest.call():
            handle(msg)


def handle(msg: BrokerMessage) -> None:
    event = json.loads(msg.body)
    report = windows.add(event["id"], event["time"], event["data"])
    if report is None:
        return
    print(f"{report['carrier']}: {report['late']} of {report['flights']} flights late")
    tenant = msg.subject.split(".")[1]
    body = json.dumps(report).encode()
    consumer.publish(BrokerMessage(f"results.{tenant}.flight.delay.report", body, reply_to=None))
