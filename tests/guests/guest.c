// Does what the last word of the subject says.
#include "guest.h"

#define TEXT(literal) ((struct text){(const u8 *)literal, sizeof(literal) - 1})
extern u8 __heap_base;
static u8 *top;
static u32 calls;
static volatile u32 sink;

void *allocate(u32 size) {
  if (!top) top = &__heap_base;
  u8 *start = (u8 *)(((u32)top + 7) & ~7u);
  u32 end = (u32)start + size, has = __builtin_wasm_memory_size(0) << 16;
  if (end > has && __builtin_wasm_memory_grow(0, (end - has + 0xffff) >> 16) == (u32)-1) __builtin_trap();
  top = start + size;
  return start;
}

void free_all(void) { top = 0; }

static int is(struct text text, struct text other) {
  if (text.length != other.length) return 0;
  for (u32 i = 0; i < text.length; i++)
    if (text.at[i] != other.at[i]) return 0;
  return 1;
}

static struct text last_word(struct text subject) {
  u32 start = subject.length;
  while (start && subject.at[start - 1] != '.') start--;
  return (struct text){subject.at + start, subject.length - start};
}

static u32 number(struct text text) {
  u32 value = 0;
  for (u32 i = 0; i < text.length; i++) value = value * 10 + (text.at[i] - '0');
  return value;
}

static struct text decimal(u32 value) {
  u8 *end = (u8 *)allocate(10) + 10, *at = end;
  do *--at = '0' + value % 10; while (value /= 10);
  return (struct text){at, end - at};
}

static u32 recurse(u32 depth) { sink = depth; return recurse(depth + 1) + sink; }
static u32 grow(u32 pages) { return __builtin_wasm_memory_grow(0, pages) != (u32)-1; }
static void answer(struct message *m, struct text body) { publish(m->subject, body, 0, TEXT("")); }

static struct text join(struct text start, struct text end) {
  u8 *at = allocate(start.length + end.length);
  __builtin_memcpy(at, start.at, start.length);
  __builtin_memcpy(at + start.length, end.at, end.length);
  return (struct text){at, start.length + end.length};
}

static struct text after_dot(struct text subject) {
  u32 start = 0;
  while (start < subject.length && subject.at[start] != '.') start++;
  return (struct text){subject.at + start, subject.length - start};
}

struct text handle(struct message *m) {
  struct text word = last_word(m->subject);
  calls++;
  if (is(word, TEXT("echo"))) publish(m->subject, m->body, m->has_reply_to, m->reply_to);
  else if (is(word, TEXT("forward"))) publish(join(TEXT("events"), after_dot(m->subject)), m->body, 0, TEXT(""));
  else if (is(word, TEXT("answer"))) publish(m->reply_to, TEXT("+ACK"), 0, TEXT(""));
  else if (is(word, TEXT("count"))) answer(m, decimal(calls));
  else if (is(word, TEXT("derive"))) publish(join(m->subject, TEXT(".made")), decimal(calls), 0, TEXT(""));
  else if (is(word, TEXT("refuse"))) return m->body;
  else if (is(word, TEXT("refuse-at-length"))) return (struct text){allocate(number(m->body)), number(m->body)};
  else if (is(word, TEXT("trap"))) __builtin_trap();
  else if (is(word, TEXT("trap-late"))) { answer(m, m->body); log_text(m->body); __builtin_trap(); }
  else if (is(word, TEXT("loop"))) for (;;) sink++;
  else if (is(word, TEXT("work"))) for (u32 i = number(m->body); i; i--) sink++;
  else if (is(word, TEXT("recurse"))) recurse(0);
  else if (is(word, TEXT("grow"))) { if (!grow(number(m->body))) __builtin_trap(); }
  else if (is(word, TEXT("grow-all"))) while (grow(1)) ;
  else if (is(word, TEXT("bomb"))) { while (grow(16)) ; __builtin_trap(); }
  else if (is(word, TEXT("publish-times"))) for (u32 i = number(m->body); i; i--) answer(m, TEXT("x"));
  else if (is(word, TEXT("publish-bytes"))) answer(m, (struct text){allocate(number(m->body)), number(m->body)});
  else if (is(word, TEXT("log"))) log_text(m->body);
  else if (is(word, TEXT("log-times"))) for (u32 i = number(m->body); i; i--) log_text(TEXT("line"));
  else if (is(word, TEXT("log-forever"))) for (;;) log_text(TEXT(""));
  return (struct text){0, 0};
}
