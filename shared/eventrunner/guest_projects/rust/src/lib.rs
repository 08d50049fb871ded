//! {{name}}: publishes a `flight.late` event for every flight that left an hour late or more.

#[rustfmt::skip]
mod bindings;

use bindings::exports::wasmcloud::messaging::handler::{BrokerMessage, Guest};
use bindings::wasi::logging::logging::{Level, log};
use bindings::wasmcloud::messaging::consumer;
use serde::{Deserialize, Serialize};

const LATE_MINUTES: i64 = 60;

#[derive(Deserialize)]
struct Event {
    id: String,
    data: Flight,
}

#[derive(Deserialize)]
struct Flight {
    /// Minutes; a cancelled flight has none.
    dep_delay: Option<i64>,
}

#[derive(Serialize)]
struct Late<'a> {
    flight: &'a str,
    minutes: i64,
}

struct Consumer;

bindings::export!(Consumer with_types_in bindings);

impl Guest for Consumer {
    /// `message.body` is a CloudEvent in JSON. An error has it tried again, and then kept as a dead letter with the text.
    fn handle_message(message: BrokerMessage) -> Result<(), String> {
        let event: Event = serde_json::from_slice(&message.body).map_err(|error| error.to_string())?;
        let Some(minutes) = event.data.dep_delay.filter(|minutes| *minutes >= LATE_MINUTES) else {
            return Ok(());
        };
        log(Level::Info, "{{name}}", &format!("flight {} left {minutes} minutes late", event.id));
        publish(&message, "flight.late", &Late { flight: &event.id, minutes })
    }
}

/// Publishes an event of the same stream and tenant. Bytes that are no CloudEvent become the data of one.
fn publish(cause: &BrokerMessage, event_type: &str, data: &impl Serialize) -> Result<(), String> {
    let mut tokens = cause.subject.split('.');
    let (Some(stream), Some(tenant)) = (tokens.next(), tokens.next()) else {
        return Err(format!("no stream and tenant in the subject {}", cause.subject));
    };
    let body = serde_json::to_vec(data).map_err(|error| error.to_string())?;
    consumer::publish(&BrokerMessage { subject: format!("{stream}.{tenant}.{event_type}"), body, reply_to: None })
}
