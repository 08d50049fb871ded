// flight-alert: publishes a `flight.alert` event for every flight that is cancelled or leaves two hours late or more.

import { publish } from "wasmcloud:messaging/consumer@0.2.0";
import { log } from "wasi:logging/logging@0.1.0-draft";
import { alertOf } from "./alert.js";
import { decode, encode } from "./utf8.js";

export const handler = {
  handleMessage(message) {
    const event = JSON.parse(decode(message.body));
    if (event.data?.carrier === undefined) throw `event ${event.id} has no flight with a carrier as its data`;
    const alert = alertOf(event);
    if (alert === undefined) return;
    log("info", "flight-alert", alert.payload.summary);
    const tenant = message.subject.split(".")[1];
    publish({ subject: `results.${tenant}.flight.alert`, body: encode(JSON.stringify(alert)), replyTo: null });
  },
};
