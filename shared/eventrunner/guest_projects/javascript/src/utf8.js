// QuickJS has no TextDecoder and TextEncoder.

const AT_ONCE = 4096; // Arguments of one call.
const ASCII = /^[\0-\x7f]*$/;

export function decode(bytes) {
  let latin1 = "";
  for (let start = 0; start < bytes.length; start += AT_ONCE) {
    latin1 += String.fromCharCode.apply(null, bytes.subarray(start, start + AT_ONCE));
  }
  return ASCII.test(latin1) ? latin1 : decodeURIComponent(escape(latin1));
}

export function encode(text) {
  const latin1 = ASCII.test(text) ? text : unescape(encodeURIComponent(text));
  const bytes = new Uint8Array(latin1.length);
  for (let index = 0; index < latin1.length; index++) bytes[index] = latin1.charCodeAt(index);
  return bytes;
}
