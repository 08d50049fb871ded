// Reads JSON where it stands, without a copy: a value is the text that it has in the document.
#ifndef JSON_H
#define JSON_H
#include "eventrunner.h"

// The value of a member of an object, at its first place.
bool json_member(text object, text name, text *value);
// Goes through the members of an object, or the elements of an array (their names are empty):
//   for (json_items items = json_begin(value); json_next(&items); ) … items.name, items.value …
// Afterwards `items.broken` says whether the document is not JSON. A name stands with its quotation marks.
typedef struct { const char *at, *end; char close; bool broken; text name, value; } json_items;
json_items json_begin(text container);
bool json_next(json_items *items);

bool json_is_container(text value);
bool json_is_string(text value);
// Whether a string says this; "\u0061" says a.
bool json_says(text string, text what);
bool json_number(text value, double *number);

#endif
