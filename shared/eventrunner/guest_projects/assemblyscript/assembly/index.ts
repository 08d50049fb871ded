// {{name}}: publishes a `flight.late` event for every flight that left an hour late or more.
import { member, numberOf, quote, textOf } from "./json";
import { Message, call, log, publish, subjectOf } from "./wapc";

const LATE_MINUTES = 60.0;

export function __guest_call(operationLength: i32, requestLength: i32): i32 {
  return call(operationLength, requestLength, handle);
}

function handle(message: Message): string | null {
  const id = textOf(member(message.body, "id"));
  const flight = member(message.body, "data");
  if (!flight.startsWith("{")) return "event " + id + " has no flight as its data";
  const delay = member(flight, "dep_delay");
  if (delay == "" || numberOf(delay) < LATE_MINUTES) return null;
  log("flight " + id + " left " + delay + " minutes late");
  const late = `{"flight":${quote(id)},"minutes":${delay}}`;
  return publish(new Message(subjectOf(message.subject, "flight.late"), late));
}
