// What a consumer in C is given. What it allocates is freed when the call is over; static variables live as long as the instance.
#ifndef EVENTRUNNER_H
#define EVENTRUNNER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct { const char *at; size_t length; } text;  // UTF-8 without a zero at its end.
#define TEXT(literal) ((text){literal, sizeof(literal) - 1})
#define OK ((text){NULL, 0})

typedef struct {
  text subject;  // <stream>.<tenant>.<type>
  text body;     // A CloudEvent in JSON.
} message;

// Yours. OK, or why not: then the event is tried again, and at last kept as a dead letter with this text.
text handle_message(message msg);

// An event of the same tenant: OK, or why it was refused. A body that is no CloudEvent becomes the data of one.
text publish(text subject, text body);

typedef enum { LOG_TRACE, LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_CRITICAL } log_level;
void write_log(log_level level, text line);

void *allocate(size_t size);
bool text_equals(text one, text other);
bool text_ends_with(text whole, text end);
// All of the parts in one, the last of them followed by OK: text_join((text[]){TEXT("a"), TEXT("b"), OK}).
text text_join(const text *parts);
// The nth part of a subject between its dots, counted from 0; empty if it has fewer.
text subject_token(text subject, unsigned n);

#endif
