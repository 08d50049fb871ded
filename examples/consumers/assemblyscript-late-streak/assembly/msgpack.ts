// As much of msgpack as the messages of waPC need: maps, text, bytes. https://github.com/msgpack/msgpack/blob/master/spec.md

export class Reader {
  private at: i32 = 0;
  private view: DataView;

  constructor(private bytes: ArrayBuffer) {
    this.view = new DataView(bytes);
  }

  /** How many pairs follow. */
  mapSize(): i32 {
    const tag = this.byte();
    if ((tag & 0xf0) == 0x80) return tag & 0x0f;
    if (tag == 0xde) return this.number(2);
    throw new Error("msgpack: not a map but 0x" + tag.toString(16));
  }

  text(): string {
    return String.UTF8.decode(this.binary());
  }

  /** Bytes, those of a text, or none at nil. */
  binary(): ArrayBuffer {
    const tag = this.byte();
    if (tag == 0xc0) return new ArrayBuffer(0);
    if ((tag & 0xe0) == 0xa0) return this.take(tag & 0x1f);
    if (tag == 0xd9 || tag == 0xc4) return this.take(this.number(1));
    if (tag == 0xda || tag == 0xc5) return this.take(this.number(2));
    if (tag == 0xdb || tag == 0xc6) return this.take(this.number(4));
    throw new Error("msgpack: not text or bytes but 0x" + tag.toString(16));
  }

  private byte(): i32 {
    return this.view.getUint8(this.at++);
  }

  private number(bytes: i32): i32 {
    let value = 0;
    while (bytes--) value = (value << 8) | this.byte();
    return value;
  }

  private take(length: i32): ArrayBuffer {
    const start = this.at;
    this.at += length;
    if (length < 0 || this.at > this.bytes.byteLength) throw new Error("msgpack: it ends too early");
    return this.bytes.slice(start, this.at);
  }
}

export class Writer {
  private parts: ArrayBuffer[] = [];

  map(size: u8): Writer {
    const tag = new ArrayBuffer(1);
    store<u8>(changetype<usize>(tag), 0x80 | size);
    this.parts.push(tag);
    return this;
  }

  text(text: string): Writer {
    return this.tagged(0xdb, String.UTF8.encode(text));
  }

  binary(bytes: ArrayBuffer): Writer {
    return this.tagged(0xc6, bytes);
  }

  bytes(): ArrayBuffer {
    let length = 0;
    for (let i = 0; i < this.parts.length; i++) length += this.parts[i].byteLength;
    const all = new Uint8Array(length);
    for (let i = 0, at = 0; i < this.parts.length; at += this.parts[i++].byteLength) {
      all.set(Uint8Array.wrap(this.parts[i]), at);
    }
    return all.buffer;
  }

  private tagged(tag: u8, bytes: ArrayBuffer): Writer {
    const head = new DataView(new ArrayBuffer(5));
    head.setUint8(0, tag);
    head.setUint32(1, bytes.byteLength);
    this.parts.push(head.buffer);
    this.parts.push(bytes);
    return this;
  }
}
