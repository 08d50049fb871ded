// Redaction: publishes `<type>.redacted`, the same data without what may not leave: some members are dropped, others become
// pseudonyms, which are equal where the values are equal, so that what is about one aircraft can still be counted together.
#include "eventrunner.h"
#include "json.h"
#include "pseudonym.h"

enum { MOST_DEPTH = 32 };
typedef enum { KEEP, DROP, PSEUDONYM } action;

static const struct { text member; action action; } RULES[] = {
    {TEXT("tailnum"), PSEUDONYM}, {TEXT("email"), PSEUDONYM}, {TEXT("captain"), DROP}, {TEXT("phone"), DROP}, {TEXT("name"), DROP},
};

static action action_for(text name) {
  for (size_t i = 0; i < sizeof RULES / sizeof *RULES; i++)
    if (json_says(name, RULES[i].member)) return RULES[i].action;
  return KEEP;
}

typedef struct { char *start, *at; } output;

static void write(output *out, text part) {
  __builtin_memcpy(out->at, part.at, part.length);
  out->at += part.length;
}

// False where the document is not JSON, or nests deeper than any event of ours: then nothing of it may be published.
static bool redact(text value, output *out, unsigned depth) {
  if (!json_is_container(value)) return write(out, value), true;
  if (depth == MOST_DEPTH) return false;
  json_items items = json_begin(value);
  bool is_first = true;
  write(out, (text){value.at, 1});
  while (json_next(&items)) {
    action action = action_for(items.name);
    if (action == DROP) continue;
    if (!is_first) write(out, TEXT(","));
    is_first = false;
    if (items.name.at) write(out, items.name), write(out, TEXT(":"));
    if (action == PSEUDONYM) write(out, pseudonym(items.value));
    else if (!redact(items.value, out, depth + 1)) return false;
  }
  write(out, (text){&items.close, 1});
  return !items.broken;
}

text handle_message(message msg) {
  text type, data;
  if (!json_member(msg.body, TEXT("type"), &type) || !json_member(msg.body, TEXT("data"), &data) || !json_is_container(data))
    return TEXT("the event's data is no object or array in JSON, so there is no knowing what is in it");
  type = (text){type.at + 1, type.length - 2};  // A type needs no escapes: the platform lets none through.
  if (text_ends_with(type, TEXT(".redacted"))) return OK;

  // A pseudonym is longer than a short value: a member has 4 bytes at least, `"":0`, and becomes PSEUDONYM_LENGTH more at most.
  char *space = allocate(data.length + (data.length / 4 + 1) * PSEUDONYM_LENGTH);
  output out = {space, space};
  if (!redact(data, &out, 0)) return TEXT("the data of the event cannot be read to its end");
  text subject = text_join((text[]){TEXT("results."), subject_token(msg.subject, 1), TEXT("."), type, TEXT(".redacted"), OK});
  return publish(subject, (text){out.start, out.at - out.start});
}
