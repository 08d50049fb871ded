// waPC: the host is called with texts, the messages are maps of msgpack.
#include "guest.h"

#define WAPC(name) __attribute__((import_module("wapc"), import_name(#name)))
#define TEXT(literal) ((struct text){(const u8 *)literal, sizeof(literal) - 1})
WAPC(__guest_request) void guest_request(u8 *operation, u8 *request);
WAPC(__guest_response) void guest_response(const u8 *, u32);
WAPC(__guest_error) void guest_error(const u8 *, u32);
WAPC(__host_call) u32 host_call(const u8 *, u32, const u8 *, u32, const u8 *, u32, const u8 *, u32);
WAPC(__host_response_len) u32 host_response_length(void);
WAPC(__host_response) void host_response(u8 *);
WAPC(__host_error_len) u32 host_error_length(void);
WAPC(__host_error) void host_error(u8 *);
WAPC(__console_log) void console_log(const u8 *, u32);

static const u8 *at;

static u32 big_endian(u32 bytes) {
  u32 value = 0;
  while (bytes--) value = value << 8 | *at++;
  return value;
}

static struct text take(u32 length) {
  struct text text = {at, length};
  at += length;
  return text;
}

static struct text read_text(void) {  // A string, bytes, or nil.
  u8 tag = *at++;
  if (tag == 0xc0) return (struct text){0, 0};
  if ((tag & 0xe0) == 0xa0) return take(tag & 0x1f);
  if (tag == 0xd9 || tag == 0xc4) return take(big_endian(1));
  if (tag == 0xda || tag == 0xc5) return take(big_endian(2));
  if (tag == 0xdb || tag == 0xc6) return take(big_endian(4));
  __builtin_trap();
}

static u32 read_map(void) {
  u8 tag = *at++;
  if ((tag & 0xf0) != 0x80) __builtin_trap();
  return tag & 0x0f;
}

static int starts_with(struct text text, char letter) { return text.length && text.at[0] == letter; }

static struct message read_message(const u8 *request) {
  struct message message = {{0, 0}, {0, 0}, {0, 0}, 0};
  at = request;
  if (read_map() != 1 || read_text().length != 7) __builtin_trap();
  for (u32 fields = read_map(); fields; fields--) {
    struct text name = read_text(), value = read_text();
    if (starts_with(name, 's')) message.subject = value;
    else if (starts_with(name, 'b')) message.body = value;
    else message.reply_to = value;
  }
  message.has_reply_to = message.reply_to.length != 0;
  return message;
}

static u8 *write(u8 *to, struct text text, u8 tag) {
  *to++ = tag;
  for (int shift = 24; shift >= 0; shift -= 8) *to++ = text.length >> shift;
  __builtin_memcpy(to, text.at, text.length);
  return to + text.length;
}

void publish(struct text subject, struct text body, int has_reply_to, struct text reply_to) {
  if (!has_reply_to) reply_to = TEXT("");
  u8 *start = allocate(64 + subject.length + body.length + reply_to.length), *to = start;
  *to++ = 0x83;
  to = write(write(to, TEXT("subject"), 0xdb), subject, 0xdb);
  to = write(write(to, TEXT("replyTo"), 0xdb), reply_to, 0xdb);
  to = write(write(to, TEXT("body"), 0xdb), body, 0xc6);
  u32 done = host_call((const u8 *)"default", 7, (const u8 *)"wasmcloud:messaging", 19, (const u8 *)"Publish", 7, start, to - start);
  if (!done || !host_response_length() || host_error_length()) __builtin_trap();
  host_response(allocate(host_response_length()));
}

void log_text(struct text text) { console_log(text.at, text.length); }

__attribute__((export_name("__guest_call")))
u32 guest_call(u32 operation_length, u32 request_length) {
  u8 *operation = allocate(operation_length), *request = allocate(request_length);
  guest_request(operation, request);
  struct message message = read_message(request);
  struct text error = handle(&message);
  if (error.at) guest_error(error.at, error.length);
  else guest_response((const u8 *)"", 0);
  free_all();
  return !error.at;
}
