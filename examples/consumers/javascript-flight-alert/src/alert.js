// Which flights somebody has to be told of, in the shape that webhooks of incident services take.

const SEVERITIES = [
  [360, "critical"],
  [180, "error"],
  [120, "warning"],
];

// Undefined for a flight that is not worth one.
export function alertOf(event) {
  const flight = event.data;
  const severity = severityOf(event.type, flight);
  if (severity === undefined) return undefined;
  const day = dayOf(flight);
  return {
    event_action: "trigger",
    // One incident for a flight of a day, however often it is told of.
    dedup_key: [flight.carrier, flight.flight, flight.origin, day].join("/"),
    payload: {
      summary: summaryOf(event.type, flight, day),
      severity,
      source: event.source,
      timestamp: event.time,
      custom_details: { event: event.id, tailnum: flight.tailnum ?? null, dep_delay: flight.dep_delay ?? null },
    },
  };
}

function severityOf(type, flight) {
  if (type === "flight.cancelled") return "error";
  return SEVERITIES.find(([minutes]) => flight.dep_delay >= minutes)?.[1];
}

// The airport's own: the event's time is in UTC.
function dayOf(flight) {
  return [flight.year, flight.month, flight.day].map((number) => String(number).padStart(2, "0")).join("-");
}

function summaryOf(type, flight, day) {
  const name = `${flight.carrier} ${flight.flight} ${flight.origin} → ${flight.dest} of ${day}`;
  return type === "flight.cancelled" ? `${name} is cancelled` : `${name} left ${spoken(flight.dep_delay)} late`;
}

function spoken(minutes) {
  const rest = minutes % 60;
  return `${Math.floor(minutes / 60)} h${rest ? ` ${rest} min` : ""}`;
}
