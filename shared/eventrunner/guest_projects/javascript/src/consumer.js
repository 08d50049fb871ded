// {{name}}: publishes a `flight.late` event for every flight that left an hour late or more.

import { publish } from "wasmcloud:messaging/consumer@0.2.0";
import { log } from "wasi:logging/logging@0.1.0-draft";
import { decode, encode } from "./utf8.js";

const LATE_MINUTES = 60;

export const handler = {
  // `message.body` is a CloudEvent in JSON. What is thrown has it tried again, and then kept as a dead letter.
  handleMessage(message) {
    const event = JSON.parse(decode(message.body));
    if (typeof event.data !== "object") throw `event ${event.id} has no flight as its data`;
    const minutes = event.data.dep_delay;
    if (minutes === undefined || minutes < LATE_MINUTES) return;
    log("info", "{{name}}", `flight ${event.id} left ${minutes} minutes late`);
    publishEvent(message, "flight.late", { flight: event.id, minutes });
  },
};

// Publishes an event of the same tenant. Bytes that are no CloudEvent become the data of one.
function publishEvent(cause, type, data) {
  const [stream, tenant] = cause.subject.split(".");
  publish({ subject: `${stream}.${tenant}.${type}`, body: encode(JSON.stringify(data)), replyTo: null });
}
