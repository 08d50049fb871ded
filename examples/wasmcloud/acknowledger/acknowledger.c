// On a wasmCloud host it is handed the messages in place of the consumer beside it, calls that one, and tells what came of
// it to whoever asked: `+ACK`, or `-NAK` with the text of the error. After a trap nothing is told.
typedef unsigned int u32;
typedef unsigned char u8;
#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))
#define HANDLE "wasmcloud:messaging/handler@0.2.0#handle-message"

IMPORT("consumer", "handle-message")
void handle(const u8 *subject, u32, const u8 *body, u32, u32 has_reply_to, const u8 *reply_to, u32, u32 *result);
IMPORT("wasmcloud:messaging/consumer@0.2.0", "publish")
void publish(const u8 *subject, u32, const u8 *body, u32, u32 has_reply_to, const u8 *reply_to, u32, u32 *result);

extern u8 __heap_base;
static u8 *top;
static u32 result[3];  // Whether it is an error, and its text.

EXPORT("cabi_realloc")
void *cabi_realloc(void *old, u32 old_size, u32 align, u32 size) {
  if (!top) top = &__heap_base;
  u8 *start = (u8 *)(((u32)top + 7) & ~7u);
  u32 end = (u32)start + size, has = __builtin_wasm_memory_size(0) << 16;
  if (end > has && __builtin_wasm_memory_grow(0, (end - has + 0xffff) >> 16) == (u32)-1) __builtin_trap();
  top = start + size;
  return start;
}

static void nak(const u8 *reply_to, u32 length, const u8 *text, u32 text_length) {
  u32 ignored[3];
  u8 *body = cabi_realloc(0, 0, 1, 5 + text_length);
  __builtin_memcpy(body, "-NAK ", 5);
  __builtin_memcpy(body + 5, text, text_length);
  publish(reply_to, length, body, 5 + text_length, 0, 0, 0, ignored);
}

static void ack(const u8 *reply_to, u32 length) {
  u32 ignored[3];
  publish(reply_to, length, (const u8 *)"+ACK", 4, 0, 0, 0, ignored);
}

EXPORT(HANDLE)
u32 *export_handle(u8 *subject, u32 subject_length, u8 *body, u32 body_length, u32 has, u8 *reply_to, u32 reply_length) {
  // A consumer has nobody to reply to, here as there.
  handle(subject, subject_length, body, body_length, 0, 0, 0, result);
  if (has && result[0]) nak(reply_to, reply_length, (u8 *)result[1], result[2]);
  else if (has) ack(reply_to, reply_length);
  return result;
}

EXPORT("cabi_post_" HANDLE)
void export_post(u32 *result) { top = 0; }
