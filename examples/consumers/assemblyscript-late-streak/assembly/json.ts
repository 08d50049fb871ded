// Finds a member of an object in JSON without reading the rest of it into objects. A value is the text that it has there.

/** The value of an object's member; empty if there is none. Throws where the text is no JSON. */
export function member(object: string, name: string): string {
  let at = skipSpace(object, 0);
  if (object.charAt(at) != "{") throw new Error("json: not an object");
  at = skipSpace(object, at + 1);
  while (object.charAt(at) == '"') {
    const colon = skipString(object, at);
    const key = object.substring(at, colon);
    at = skipSpace(object, colon);
    if (object.charAt(at) != ":") throw new Error("json: no colon after " + key);
    const start = skipSpace(object, at + 1), end = skipValue(object, start);
    if (textOf(key) == name) return object.substring(start, end).trimEnd();
    at = skipSpace(object, end);
    if (object.charAt(at) == ",") at = skipSpace(object, at + 1);
  }
  return "";
}

/** What a value that is a string says, else the value itself. */
export function textOf(value: string): string {
  if (!value.startsWith('"')) return value;
  let text = "", from = 1;
  const end = value.length - 1;
  for (let at = value.indexOf("\\"); at >= 0 && at < end; at = value.indexOf("\\", from)) {
    text += value.substring(from, at);
    const letter = value.charAt(at + 1), place = "bfnrt".indexOf(letter);
    from = at + (letter == "u" ? 6 : 2);
    if (letter == "u") text += String.fromCharCode(u16(parseInt(value.substring(at + 2, from), 16)));
    else text += place < 0 ? letter : "\b\f\n\r\t".charAt(place);
  }
  return text + value.substring(from, end);
}

export function numberOf(value: string): f64 {
  return parseFloat(value);
}

/** A text as JSON. */
export function quote(text: string): string {
  let quoted = '"';
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code == 0x22 || code == 0x5c) quoted += "\\";
    quoted += code < 0x20 ? "\\u" + code.toString(16).padStart(4, "0") : text.charAt(i);
  }
  return quoted + '"';
}

function skipSpace(text: string, at: i32): i32 {
  while (at < text.length && text.charCodeAt(at) <= 0x20) at++;
  return at;
}

function skipString(text: string, at: i32): i32 {
  for (at++; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code == 0x22) return at + 1;
    if (code == 0x5c) at++;
  }
  throw new Error("json: a string does not end");
}

/** Nesting is counted, so that a deep text needs no deep stack. */
function skipValue(text: string, at: i32): i32 {
  for (let depth = 0; at < text.length; ) {
    const letter = text.charAt(at);
    if (depth == 0 && (letter == "," || letter == "}" || letter == "]")) return at;
    if (letter == '"') at = skipString(text, at);
    else at++;
    if (letter == "{" || letter == "[") depth++;
    else if (letter == "}" || letter == "]") depth--;
  }
  throw new Error("json: a value does not end");
}
