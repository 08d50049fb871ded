// {{name}}: publishes a `flight.late` event for every flight that left an hour late or more.
#include "eventrunner.h"
#include "json.h"

static const double LATE_MINUTES = 60;

text handle_message(message msg) {
  text id, flight, delay;
  double minutes;
  if (!json_member(msg.body, TEXT("id"), &id)) return TEXT("this is no event");
  if (!json_member(msg.body, TEXT("data"), &flight) || *flight.at != '{')
    return text_join((text[]){TEXT("event "), id, TEXT(" has no flight as its data"), OK});
  if (!json_member(flight, TEXT("dep_delay"), &delay) || !json_number(delay, &minutes) || minutes < LATE_MINUTES) return OK;

  write_log(LOG_INFO, text_join((text[]){TEXT("flight "), id, TEXT(" left "), delay, TEXT(" minutes late"), OK}));
  text stream = subject_token(msg.subject, 0), tenant = subject_token(msg.subject, 1);
  text subject = text_join((text[]){stream, TEXT("."), tenant, TEXT(".flight.late"), OK});
  return publish(subject, text_join((text[]){TEXT("{\"flight\":"), id, TEXT(",\"minutes\":"), delay, TEXT("}"), OK}));
}
