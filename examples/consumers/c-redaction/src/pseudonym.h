#ifndef PSEUDONYM_H
#define PSEUDONYM_H
#include "eventrunner.h"

enum { PSEUDONYM_LENGTH = 18 };
// In JSON, of a value in JSON: 16 hex digits that nobody without the key can lead back to it. null stays null.
text pseudonym(text value);

#endif
