// Late streak: publishes `flight.congestion` when three flights in a row have left an airport late, once for each such streak.
import { member, numberOf, quote, textOf } from "./json";
import { Streak } from "./streak";
import { Message, call, log, publish } from "./wapc";

const STREAK = 3;
const LATE_MINUTES = 15.0;

// One instance is handed event after event (--instance reuse, --ordered), and this lives as long as it does.
const streaks = new Map<string, Streak>();

export function __guest_call(operationLength: i32, requestLength: i32): i32 {
  return call(operationLength, requestLength, handle);
}

function handle(message: Message): string | null {
  const id = textOf(member(message.body, "id"));
  const flight = member(message.body, "data");
  if (!flight.startsWith("{")) return `event ${id} has no flight as its data`;
  const origin = textOf(member(flight, "origin")), delay = member(flight, "dep_delay");
  if (origin == "" || delay == "") return null; // A cancelled flight neither makes a streak nor ends one.

  const minutes = numberOf(delay);
  if (minutes < LATE_MINUTES) {
    streaks.delete(origin);
    return null;
  }
  if (!streaks.has(origin)) streaks.set(origin, new Streak());
  const streak = streaks.get(origin);
  if (!streak.add(id, minutes) || streak.length != STREAK) return null;
  log(`${origin}: ${STREAK} flights in a row are late`);
  const tenant = message.subject.split(".")[1];
  const alert = `{"airport":${quote(origin)},"flights":${streak.ids()},"minutes":${i32(streak.mean)}}`;
  return publish(new Message(`results.${tenant}.flight.congestion`, alert));
}
