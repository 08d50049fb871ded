// What a guest is given by the way it is called (component.c, wapc.c), and what it does (guest.c).
typedef unsigned int u32;
typedef unsigned char u8;
struct text { const u8 *at; u32 length; };
struct message { struct text subject, body, reply_to; int has_reply_to; };

struct text handle(struct message *message);  // An error's text, or nothing at null.
void publish(struct text subject, struct text body, int has_reply_to, struct text reply_to);
void log_text(struct text text);
void *allocate(u32 size);  // Until the call is over.
void free_all(void);
