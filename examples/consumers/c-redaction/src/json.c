#include "json.h"

static bool is_space(char letter) { return letter == ' ' || letter == '\t' || letter == '\n' || letter == '\r'; }

static const char *skip_space(const char *at, const char *end) {
  while (at < end && is_space(*at)) at++;
  return at;
}

// Past the string that begins here, or NULL.
static const char *skip_string(const char *at, const char *end) {
  if (at == end || *at++ != '"') return NULL;
  for (; at < end && *at != '"'; at++)
    if (*at == '\\' && ++at == end) return NULL;
  return at < end ? at + 1 : NULL;
}

// Past the value that begins here, or NULL. Nesting is counted, so that a deep document needs no deep stack.
static const char *skip_value(const char *at, const char *end) {
  size_t depth = 0;
  const char *start = at;
  while (at < end) {
    if (*at == '"') {
      if (!(at = skip_string(at, end))) return NULL;
    } else if (*at == '{' || *at == '[') {
      depth++, at++;
    } else if (*at == '}' || *at == ']') {
      if (!depth) break;
      depth--, at++;
    } else if (!depth && (*at == ',' || is_space(*at))) {
      break;
    } else {
      at++;
      if (depth || (at < end && *at != '"' && *at != '{' && *at != '[')) continue;
    }
    if (!depth) break;
  }
  return depth || at == start ? NULL : at;
}

json_items json_begin(text container) {
  const char *end = container.at + container.length, *at = skip_space(container.at, end);
  char open = at < end ? *at : 0, close = open == '{' ? '}' : open == '[' ? ']' : 0;
  return (json_items){.at = close ? at + 1 : at, .end = end, .close = close, .broken = !close};
}

static bool json_break(json_items *items) { return items->broken = true, false; }

bool json_next(json_items *items) {
  const char *at = skip_space(items->at, items->end), *past;
  if (items->broken || at == items->end) return json_break(items);
  if (*at == items->close) return false;
  if (items->value.at) {
    if (*at != ',') return json_break(items);
    at = skip_space(at + 1, items->end);
  }
  if (items->close == '}') {
    if (!(past = skip_string(at, items->end))) return json_break(items);
    items->name = (text){at, past - at};
    at = skip_space(past, items->end);
    if (at == items->end || *at != ':') return json_break(items);
    at = skip_space(at + 1, items->end);
  }
  if (!(past = skip_value(at, items->end))) return json_break(items);
  items->value = (text){at, past - at};
  items->at = past;
  return true;
}

bool json_member(text object, text name, text *value) {
  json_items items = json_begin(object);
  while (items.close == '}' && json_next(&items))
    if (json_says(items.name, name)) return *value = items.value, true;
  return false;
}

bool json_is_container(text value) { return value.length && (*value.at == '{' || *value.at == '['); }
bool json_is_string(text value) { return value.length && *value.at == '"'; }

static unsigned hex_digit(char letter) {
  return letter <= '9' ? letter - '0' : (letter | 0x20) - 'a' + 10;
}

// What `\…` stands for in UTF-8; a half of a surrogate pair by itself, which equals nothing. `at` is behind the backslash.
static const char *unescape(const char *at, const char *end, char to[3], size_t *length) {
  static const char from[] = "bfnrt", into[] = "\b\f\n\r\t";
  *length = 1, to[0] = *at;
  for (int i = 0; from[i]; i++)
    if (*at == from[i]) to[0] = into[i];
  if (*at != 'u' || end - at < 5) return at + 1;
  unsigned code = 0;
  for (int i = 1; i < 5; i++) code = code << 4 | hex_digit(at[i]);
  if (code < 0x80) {
    to[0] = code;
  } else if (code < 0x800) {
    *length = 2, to[0] = 0xc0 | code >> 6, to[1] = 0x80 | (code & 0x3f);
  } else {
    *length = 3, to[0] = 0xe0 | code >> 12, to[1] = 0x80 | (code >> 6 & 0x3f), to[2] = 0x80 | (code & 0x3f);
  }
  return at + 5;
}

bool json_says(text string, text what) {
  if (string.length < 2 || *string.at != '"') return false;
  const char *at = string.at + 1, *end = string.at + string.length - 1;
  size_t said = 0;
  while (at < end) {
    char letters[3] = {*at};
    size_t length = 1;
    at = *at == '\\' ? unescape(at + 1, end, letters, &length) : at + 1;
    if (what.length - said < length || !text_equals((text){what.at + said, length}, (text){letters, length})) return false;
    said += length;
  }
  return said == what.length;
}

bool json_number(text value, double *number) {
  const char *at = value.at, *end = at + value.length;
  bool negative = at < end && *at == '-';
  at += negative;
  if (at == end || *at < '0' || *at > '9') return false;
  double result = 0, scale = 1;
  for (; at < end && *at >= '0' && *at <= '9'; at++) result = result * 10 + (*at - '0');
  if (at < end && *at == '.')
    for (at++; at < end && *at >= '0' && *at <= '9'; at++) result += (*at - '0') * (scale /= 10);
  if (at != end) return false;  // An exponent: nobody writes minutes so.
  *number = negative ? -result : result;
  return true;
}
