// The canonical ABI of wit/world.wit, written by hand.
#include "guest.h"

__attribute__((import_module("wasmcloud:messaging/consumer@0.2.0"), import_name("publish")))
void import_publish(const u8 *, u32, const u8 *, u32, u32, const u8 *, u32, u32 *);
__attribute__((import_module("wasi:logging/logging@0.1.0-draft"), import_name("log")))
void import_log(u32, const u8 *, u32, const u8 *, u32);

static u32 result[3];

__attribute__((export_name("cabi_realloc")))
void *cabi_realloc(void *old, u32 old_size, u32 align, u32 size) { return allocate(size); }

void publish(struct text subject, struct text body, int has_reply_to, struct text reply_to) {
  u32 answer[3];
  import_publish(subject.at, subject.length, body.at, body.length, has_reply_to, reply_to.at, reply_to.length, answer);
  if (answer[0]) __builtin_trap();
}

void log_text(struct text text) { import_log(3, (const u8 *)"guest", 5, text.at, text.length); }

__attribute__((export_name("wasmcloud:messaging/handler@0.2.0#handle-message")))
u32 *export_handle(u8 *subject, u32 subject_length, u8 *body, u32 body_length, u32 has, u8 *reply, u32 reply_length) {
  struct message message = {{subject, subject_length}, {body, body_length}, {reply, reply_length}, has};
  struct text error = handle(&message);
  result[0] = error.at != 0, result[1] = (u32)error.at, result[2] = error.length;
  return result;
}

__attribute__((export_name("cabi_post_wasmcloud:messaging/handler@0.2.0#handle-message")))
void export_post(u32 *answer) { free_all(); }
