"""delay-report: publishes a `flight.delay.report` event for every 20 flights of a carrier."""

import json

from componentize_py_types import Err
from delays import Windows
from wit_world import exports
from wit_world.imports import consumer, logging
from wit_world.imports.types import BrokerMessage

# One instance is handed event after event (--instance reuse), and this lives as long as it does.
windows = Windows(size=20)


class Handler(exports.Handler):
    def handle_message(self, msg: BrokerMessage) -> None:
        event = json.loads(msg.body)
        flight = event.get("data")
        if not isinstance(flight, dict) or "carrier" not in flight:
            raise Err(f"event {event['id']} has no flight with a carrier as its data")
        report = windows.add(event["id"], event.get("time", ""), flight)
        if report is None:
            return
        logging.log(
            logging.Level.INFO, "delay-report", f"{report['carrier']}: {report['late']} of {report['flights']} late"
        )
        _, tenant, _ = msg.subject.split(".", 2)
        body = json.dumps(report).encode()
        consumer.publish(BrokerMessage(f"results.{tenant}.flight.delay.report", body, reply_to=None))
