// The canonical ABI of wit/world.wit, written by hand:
// https://github.com/WebAssembly/component-model/blob/main/design/mvp/CanonicalABI.md
#include "eventrunner.h"

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))
#define HANDLE_MESSAGE "wasmcloud:messaging/handler@0.2.0#handle-message"
enum { PAGE = 65536 };

typedef struct { uint8_t failed; text error; } result;  // result<_, string>

IMPORT("wasmcloud:messaging/consumer@0.2.0", "publish")
void import_publish(const char *subject, size_t subject_length, const char *body, size_t body_length, uint32_t has_reply_to,
                    const char *reply_to, size_t reply_to_length, result *answer);
IMPORT("wasi:logging/logging@0.1.0-draft", "log")
void import_log(uint32_t level, const char *context, size_t context_length, const char *line, size_t line_length);

extern char __heap_base;
static uintptr_t top;  // Of what the call has allocated; 0: nothing.

void *allocate(size_t size) {
  uintptr_t start = ((top ? top : (uintptr_t)&__heap_base) + 7) & ~(uintptr_t)7;
  uintptr_t has = __builtin_wasm_memory_size(0) * PAGE;
  if (size > UINTPTR_MAX - start - PAGE) __builtin_trap();
  if (start + size > has && __builtin_wasm_memory_grow(0, (start + size - has + PAGE - 1) / PAGE) == SIZE_MAX) __builtin_trap();
  top = start + size;
  return (void *)start;
}

EXPORT("cabi_realloc")
void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
  (void)align;  // 8 at most.
  char *made = allocate(size);
  __builtin_memcpy(made, old, old_size < size ? old_size : size);
  return made;
}

EXPORT(HANDLE_MESSAGE)
result *export_handle_message(const char *subject, size_t subject_length, const char *body, size_t body_length,
                              uint32_t has_reply_to, const char *reply_to, size_t reply_to_length) {
  (void)has_reply_to, (void)reply_to, (void)reply_to_length;  // An event has none.
  static result answer;
  text error = handle_message((message){{subject, subject_length}, {body, body_length}});
  answer = (result){error.at != NULL, error};
  return &answer;
}

EXPORT("cabi_post_" HANDLE_MESSAGE)
void export_free(result *answer) {
  (void)answer;
  top = 0;
}

text publish(text subject, text body) {
  result answer;
  import_publish(subject.at, subject.length, body.at, body.length, 0, NULL, 0, &answer);
  return answer.failed ? answer.error : OK;
}

void write_log(log_level level, text line) { import_log(level, "", 0, line.at, line.length); }

bool text_equals(text one, text other) {
  if (one.length != other.length) return false;
  for (size_t i = 0; i < one.length; i++)
    if (one.at[i] != other.at[i]) return false;
  return true;
}

bool text_ends_with(text whole, text end) {
  return whole.length >= end.length && text_equals((text){whole.at + whole.length - end.length, end.length}, end);
}

text text_join(const text *parts) {
  size_t length = 0;
  for (const text *part = parts; part->at; part++) length += part->length;
  char *start = allocate(length), *to = start;
  for (const text *part = parts; part->at; to += part->length, part++) __builtin_memcpy(to, part->at, part->length);
  return (text){start, length};
}

text subject_token(text subject, unsigned n) {
  const char *at = subject.at, *end = at + subject.length;
  while (n && at < end)
    if (*at++ == '.') n--;
  const char *stop = at;
  while (stop < end && *stop != '.') stop++;
  return (text){at, stop - at};
}
