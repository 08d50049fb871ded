// A guest of waPC (https://wapc.io/docs/spec/) with the messages of wasmcloud:messaging as they were before components.
import { Reader, Writer } from "./msgpack";

export class Message {
  constructor(
    /** `<stream>.<tenant>.<type>` */
    public subject: string,
    /** A CloudEvent in JSON. Of what is published it may be another text, too: it becomes the data of one. */
    public body: string,
  ) {}
}

/** Answers `null`, or why not: then the event is tried again, and at last kept as a dead letter with the text. */
export type Handler = (message: Message) => string | null;

/** Emits an event of the same tenant. Answers `null`, or why it was refused. */
export function publish(message: Message): string | null {
  const request = new Writer().map(3).text("subject").text(message.subject).text("replyTo").text("").text("body");
  const payload = request.binary(String.UTF8.encode(message.body)).bytes();
  const done = hostCall(at(BINDING), BINDING.byteLength, at(NAMESPACE), NAMESPACE.byteLength,
    at(PUBLISH), PUBLISH.byteLength, at(payload), payload.byteLength);
  if (done) return null;
  const error = new ArrayBuffer(hostErrorLength());
  hostError(at(error));
  return String.UTF8.decode(error);
}

/** The subject for events of a type, beside one of the same stream and tenant. */
export function subjectOf(beside: string, type: string): string {
  const tokens = beside.split(".");
  return tokens[0] + "." + tokens[1] + "." + type;
}

export function log(line: string): void {
  const bytes = String.UTF8.encode(line);
  consoleLog(at(bytes), bytes.byteLength);
}

/** What `__guest_call` is: answers 1 if all is well. */
export function call(operationLength: i32, requestLength: i32, handler: Handler): i32 {
  const operation = new ArrayBuffer(operationLength), request = new ArrayBuffer(requestLength);
  guestRequest(at(operation), at(request));
  const name = String.UTF8.decode(operation);
  const error = name == HANDLE ? handler(readDelivery(request)) : "there is no operation " + name;
  if (error === null) return 1;
  const bytes = String.UTF8.encode(error);
  guestError(at(bytes), bytes.byteLength);
  return 0;
}

/** What `throw` and a failed check do; the compiler is told so in asconfig.json. */
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  log(`${message === null ? "abort" : message} at ${file === null ? "?" : file}:${line}`);
  unreachable();
}

const HANDLE = "MessageSubscriber.HandleMessage";
const BINDING = String.UTF8.encode("default");
const NAMESPACE = String.UTF8.encode("wasmcloud:messaging");
const PUBLISH = String.UTF8.encode("Publish");

/** `DeliverMessage`: {message: {subject, replyTo, body}}. */
function readDelivery(request: ArrayBuffer): Message {
  const reader = new Reader(request), message = new Message("", "");
  if (reader.mapSize() != 1 || reader.text() != "message") throw new Error("msgpack: not a DeliverMessage");
  for (let fields = reader.mapSize(); fields > 0; fields--) {
    const name = reader.text(), value = reader.text();
    if (name == "subject") message.subject = value;
    else if (name == "body") message.body = value;
  }
  return message;
}

function at(bytes: ArrayBuffer): usize {
  return changetype<usize>(bytes);
}

@external("wapc", "__guest_request")
declare function guestRequest(operation: usize, request: usize): void;
@external("wapc", "__guest_error")
declare function guestError(at: usize, length: i32): void;
@external("wapc", "__host_call")
declare function hostCall(
  binding: usize, bindingLength: i32, namespace: usize, namespaceLength: i32,
  operation: usize, operationLength: i32, payload: usize, payloadLength: i32,
): i32;
@external("wapc", "__host_error_len")
declare function hostErrorLength(): i32;
@external("wapc", "__host_error")
declare function hostError(at: usize): void;
@external("wapc", "__console_log")
declare function consoleLog(at: usize, length: i32): void;
