//! Enrichment: publishes `flight.enriched`, the flight with the names and time zones of its airports, how far it is and how
//! fast it went.

mod airports;
#[rustfmt::skip]
mod bindings;

use airports::Airport;
use bindings::exports::wasmcloud::messaging::handler::{BrokerMessage, Guest};
use bindings::wasi::logging::logging::{Level, log};
use bindings::wasmcloud::messaging::consumer;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[derive(Deserialize)]
struct Event {
    id: String,
    data: Flight,
}

#[derive(Deserialize)]
struct Flight {
    origin: String,
    dest: String,
    /// Minutes.
    air_time: Option<i64>,
    /// Goes on as it came.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Serialize)]
struct Enriched<'a> {
    origin: Place<'a>,
    dest: Place<'a>,
    distance_km: Option<i64>,
    air_time: Option<i64>,
    speed_kmh: Option<i64>,
    #[serde(flatten)]
    rest: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct Place<'a> {
    code: &'a str,
    name: Option<&'a str>,
    zone: Option<&'a str>,
}

struct Consumer;

bindings::export!(Consumer with_types_in bindings);

impl Guest for Consumer {
    fn handle_message(message: BrokerMessage) -> Result<(), String> {
        let event: Event = serde_json::from_slice(&message.body).map_err(|error| error.to_string())?;
        let flight = &event.data;
        for code in [&flight.origin, &flight.dest] {
            if Airport::find(code).is_none() {
                log(Level::Warn, "airports", &format!("flight {}: there is no airport {code} in the table", event.id));
            }
        }
        publish(&message, "flight.enriched", &enrich(flight))
    }
}

/// What the table does not know stays null: a flight is not held up for it.
fn enrich(flight: &Flight) -> Enriched<'_> {
    let (origin, dest) = (Airport::find(&flight.origin), Airport::find(&flight.dest));
    let distance = origin.as_ref().zip(dest.as_ref()).map(|(origin, dest)| origin.kilometres_to(dest));
    let hours = flight.air_time.filter(|minutes| *minutes > 0).map(|minutes| minutes as f64 / 60.0);
    Enriched {
        origin: place(&flight.origin, origin),
        dest: place(&flight.dest, dest),
        distance_km: distance.map(rounded),
        air_time: flight.air_time,
        speed_kmh: distance.zip(hours).map(|(kilometres, hours)| rounded(kilometres / hours)),
        rest: &flight.rest,
    }
}

fn place(code: &str, airport: Option<Airport>) -> Place<'_> {
    Place { code, name: airport.as_ref().map(|it| it.name), zone: airport.as_ref().map(|it| it.zone) }
}

fn rounded(value: f64) -> i64 {
    value.round() as i64
}

/// Publishes an event of the same tenant; rules do not judge it. Bytes that are no CloudEvent become the data of one.
fn publish(cause: &BrokerMessage, event_type: &str, data: &impl Serialize) -> Result<(), String> {
    let tenant =
        cause.subject.split('.').nth(1).ok_or_else(|| format!("no tenant in the subject {}", cause.subject))?;
    let body = serde_json::to_vec(data).map_err(|error| error.to_string())?;
    consumer::publish(&BrokerMessage { subject: format!("results.{tenant}.{event_type}"), body, reply_to: None })
}
