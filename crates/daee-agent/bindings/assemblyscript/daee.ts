// The guest's side of the door in AssemblyScript: two imports, frames, JSON, and a function for each operation.
//
// An operation gives a Reply, refused or not. `must` of it throws what was refused; whatever is thrown is logged and
// undoes the turn.

// @ts-ignore: decorator
@external("daee", "call")
declare function importCall(op: usize, opLen: usize, input: usize, inputLen: usize): i32;
// @ts-ignore: decorator
@external("daee", "read")
declare function importRead(out: usize, cap: usize): i32;

/** Codes of refusals. */
export const DENIED: i32 = -1;
export const UNKNOWN: i32 = -2;
export const MALFORMED: i32 = -3;
export const LIMIT: i32 = -4;
export const NOT_FOUND: i32 = -5;
export const OUTSIDE: i32 = -6;
export const NOT_NOW: i32 = -7;
export const CONFLICT: i32 = -8;

/** What an operation gave. With a negative code it was refused, and the head says why. */
export class Reply {
  constructor(
    public op: string,
    public code: i32,
    /** A JSON object. */
    public head: string,
    public body: ArrayBuffer,
  ) {}

  get refused(): bool {
    return this.code < 0;
  }

  /** Ends the turn if it was refused. */
  must(): this {
    if (this.refused) throw new Error(this.op + ": " + this.why);
    return this;
  }

  /** Why it was refused. */
  get why(): string {
    const message = this.string("message");
    return message === null ? this.head : message;
  }

  /** The body as text. */
  text(): string {
    return String.UTF8.decode(this.body);
  }

  /** A field of the head. */
  field(name: string): Json {
    return Json.parse(this.head).get(name);
  }

  /** A field that is a text. */
  string(name: string): string | null {
    const field = this.field(name);
    return field.kind == Kind.String ? field.text : null;
  }

  /** A field that is a number. */
  number(name: string): u64 {
    const field = this.field(name);
    return field.kind == Kind.Number ? U64.parseInt(field.text) : 0;
  }

  /** A field that says yes or no. */
  flag(name: string): bool {
    return this.field(name).kind == Kind.True;
  }

  /** The first header of this name in lower case, of a request or of what was fetched. */
  header(name: string): string | null {
    const headers = this.field("headers").items;
    for (let i = 0; i < headers.length; i++) {
      const pair = headers[i].items;
      if (pair.length == 2 && pair[0].text.toLowerCase() == name) return pair[1].text;
    }
    return null;
  }
}

/** Does an operation. A frame is a 32-bit little-endian length of the head, the head, and the body. */
export function call(op: string, head: string = "{}", body: ArrayBuffer = new ArrayBuffer(0)): Reply {
  const name = String.UTF8.encode(op), text = String.UTF8.encode(head);
  const bodyAt = 4 + text.byteLength;
  const frame = new ArrayBuffer(bodyAt + body.byteLength);
  const at = changetype<usize>(frame);
  store<u32>(at, text.byteLength);
  memory.copy(at + 4, changetype<usize>(text), text.byteLength);
  memory.copy(at + bodyAt, changetype<usize>(body), body.byteLength);
  const code = importCall(changetype<usize>(name), name.byteLength, at, frame.byteLength);
  // A refusal does not say how long its reason is; a read of nothing does.
  const length = code < 0 ? importRead(0, 0) : code;
  const answer = new ArrayBuffer(length);
  importRead(changetype<usize>(answer), length);
  if (length < 4) return new Reply(op, code, "{}", answer);
  const end = 4 + load<u32>(changetype<usize>(answer));
  return new Reply(op, code, String.UTF8.decode(answer.slice(4, end)), answer.slice(end));
}

/** Text as bytes. */
export function bytes(text: string): ArrayBuffer {
  return String.UTF8.encode(text);
}

// The operations.

/** Logs a line. One that is over the turn's limit is lost, and the log says so. */
export function log(level: string, text: string): void {
  call("log", new Head().string("level", level).string("text", text).end());
}

/** Milliseconds since 1970: the event's, and what was waited for since. */
export function now(): u64 {
  return call("now").must().number("ms");
}

/** At most 4096 random bytes, as body. */
export function random(count: u32): Reply {
  return call("random", new Head().number("bytes", count).end());
}

/** What woke the agent: `string("kind")` says which fields it has besides `turn` and `ms`. */
export function next(): Reply {
  return call("event.next").must();
}

/** Answers this turn's event. There is one answer to each. */
export function answer(status: u32, type: string, body: string): Reply {
  return answerWith(status, [["content-type", type]], bytes(body));
}

/** The same with these headers. */
export function answerWith(status: u32, headers: string[][], body: ArrayBuffer): Reply {
  return call("event.answer", new Head().headers(headers).number("status", status).end(), body);
}

/** What lasts. */
export namespace state {
  /** The value, as body; NOT_FOUND if there is none. */
  export function get(key: string): Reply {
    return call("state.get", new Head().string("key", key).end());
  }
  /** Sets a key. */
  export function set(key: string, value: ArrayBuffer): Reply {
    return call("state.set", new Head().string("key", key).end(), value);
  }
  /** `flag("existed")` says whether it was there. */
  export function remove(key: string): Reply {
    return call("state.delete", new Head().string("key", key).end());
  }
  /**
   * Keys that begin with `prefix`, in order, behind `after` if that is given; at most `limit`, which is at most 1000.
   * `field("keys")` has them as `items`.
   */
  export function list(prefix: string, after: string | null = null, limit: u32 = 1000): Reply {
    const head = new Head().string("prefix", prefix).string("after", after).number("limit", limit);
    return call("state.list", head.end());
  }
  /**
   * Sets a key if its value is still `old`, or, if that is null, if there is no such key. `flag("swapped")` says
   * whether it did.
   */
  export function swap(key: string, old: ArrayBuffer | null, value: ArrayBuffer): Reply {
    const head = new Head().string("key", key);
    if (old === null) head.string("expect", "absent");
    else head.raw("expect", `{"sha256":"${sha256(old)}"}`);
    return call("state.cas", head.end(), value);
  }
}

/** Files that last, in folders. Names in a path are parted by `/`, and no path leaves the agent's files. */
export namespace file {
  function at(path: string): Head {
    return new Head().string("path", path);
  }
  /** At most `count` bytes from `offset` on, as body; at most 4 MiB at once. */
  export function read(path: string, offset: u64 = 0, count: u64 = 4 << 20): Reply {
    return call("file.read", at(path).number("offset", offset).number("bytes", count).end());
  }
  /** Writes a whole file; one that is not there is made, in a folder that is. */
  export function write(path: string, content: ArrayBuffer): Reply {
    return call("file.write", at(path).end(), content);
  }
  /** Writes over what is in a file from `offset` on. Between its end and there it gets zeros. */
  export function writeAt(path: string, offset: u64, content: ArrayBuffer): Reply {
    return call("file.write", at(path).number("offset", offset).end(), content);
  }
  /** Writes behind the end of a file, which is made if it is not there. */
  export function append(path: string, content: ArrayBuffer): Reply {
    return call("file.write", at(path).string("offset", "end").end(), content);
  }
  /** Cuts a file to this size, or fills it up with zeros. */
  export function truncate(path: string, size: u64): Reply {
    return call("file.truncate", at(path).number("size", size).end());
  }
  /** `string("kind")` is "file" or "directory"; `number("size")`; `number("modified_ns")`. */
  export function stat(path: string): Reply {
    return call("file.stat", at(path).end());
  }
  /** Makes an empty file. One that is there is left alone, or refused if it must be new. It is given as by `stat`. */
  export function create(path: string, isNew: bool): Reply {
    return call("file.create", at(path).raw("new", isNew ? "true" : "false").end());
  }
  /** Makes a folder, in one that is there. It is given as by `stat`. */
  export function mkdir(path: string): Reply {
    return call("file.mkdir", at(path).end());
  }
  /** `field("entries")` are objects with `name` and `kind`, behind the name `after`; at most `limit`, at most 1000. */
  export function list(path: string, after: string | null = null, limit: u32 = 1000): Reply {
    return call("file.list", at(path).string("after", after).number("limit", limit).end());
  }
  /** Removes a file or an empty folder. */
  export function remove(path: string): Reply {
    return call("file.remove", at(path).end());
  }
  /** Moves a file or a folder. It takes the place of a file, or of an empty folder. */
  export function rename(path: string, to: string): Reply {
    return call("file.rename", at(path).string("to", to).end());
  }
  /** Sets when it was last written to now. */
  export function touch(path: string): Reply {
    return call("file.touch", at(path).end());
  }
  /** The same to a time in nanoseconds since 1970. */
  export function touchAt(path: string, modifiedNs: u64): Reply {
    return call("file.touch", at(path).number("modified_ns", modifiedNs).end());
  }
}

/** Events of kind `timer`, once, with this name. One of the same name is set anew. */
export namespace timer {
  /** At a time in milliseconds since 1970. */
  export function at(name: string, ms: u64): Reply {
    return call("timer.set", new Head().string("name", name).number("at_ms", ms).end());
  }
  /** So many milliseconds from now. */
  export function after(name: string, ms: u64): Reply {
    return call("timer.set", new Head().string("name", name).number("after_ms", ms).end());
  }
  /** `flag("existed")` says whether it was there. */
  export function cancel(name: string): Reply {
    return call("timer.cancel", new Head().string("name", name).end());
  }
}

/** Fetches. `number("status")` is that of the answer, whatever it is; refused means that none came. */
export function fetch(
  url: string,
  method: string | null = null,
  headers: string[][] = [],
  body: ArrayBuffer = new ArrayBuffer(0),
  timeoutMs: u32 = 0,
): Reply {
  const head = new Head().string("url", url).string("method", method).headers(headers);
  if (timeoutMs) head.number("timeout_ms", timeoutMs);
  return call("http.fetch", head.end(), body);
}

/** Content that the node has verified against its CID, as body; more than `bytesMax` of it is refused. */
export function ipfsRead(cid: string, bytesMax: u64): Reply {
  return call("ipfs.read", new Head().string("cid", cid).number("max_bytes", bytesMax).end());
}

/** Publishes a value under a topic in the outbox contract, once the turn is kept. */
export function publish(topic: string, data: ArrayBuffer): Reply {
  return call("chain.publish", new Head().string("topic", topic).end(), data);
}

/** For a resident: gives each event to this function for as long as the cell lives. */
export function resident(turn: (event: Reply) => void): void {
  while (true) turn(next());
}

/** Said where a program cannot go on, as after a `throw`. The turn is undone. */
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  const said = message === null ? "aborted" : message;
  const where = file === null ? "" : file;
  log("error", `${said} (${where}:${line}:${column})`);
  unreachable();
}

/** The fields of an operation's input. */
export class Head {
  private json: string = "";

  /** A field as JSON. */
  raw(name: string, json: string): this {
    this.json += (this.json.length ? "," : "{") + quote(name) + ":" + json;
    return this;
  }
  /** Nothing if it is null. */
  string(name: string, text: string | null): this {
    return text === null ? this : this.raw(name, quote(text));
  }
  number(name: string, number: u64): this {
    return this.raw(name, number.toString());
  }
  headers(pairs: string[][]): this {
    if (!pairs.length) return this;
    const quoted = pairs.map<string>((pair) => "[" + quote(pair[0]) + "," + quote(pair[1]) + "]");
    return this.raw("headers", "[" + quoted.join(",") + "]");
  }
  end(): string {
    return this.json.length ? this.json + "}" : "{}";
  }
}

/** Text as JSON writes it. */
export function quote(text: string): string {
  let out = "\"";
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c < 0x20) out += "\\u00" + (c < 16 ? "0" : "") + c.toString(16);
    else out += c == 0x22 || c == 0x5c ? "\\" + text.charAt(i) : text.charAt(i);
  }
  return out + "\"";
}

export enum Kind {
  /** Nothing is there, or no JSON. */
  None,
  Null,
  False,
  True,
  Number,
  String,
  Array,
  Object,
}

/** A value of JSON. */
export class Json {
  constructor(
    public kind: Kind,
    /** A text without its escapes, and a number as it is written. */
    public text: string = "",
    /** Of an array, or the values of an object. */
    public items: Json[] = [],
    /** The names of an object. */
    public names: string[] = [],
  ) {}

  /** None if it is nested deeper than 127, too. */
  static parse(text: string): Json {
    const reader = new Reader(text);
    const value = reader.value(0);
    return value === null || reader.skip() ? new Json(Kind.None) : value;
  }

  /** The value of a name in an object. */
  get(name: string): Json {
    const at = this.names.lastIndexOf(name);
    return at < 0 ? new Json(Kind.None) : this.items[at];
  }
}

class Reader {
  private at: i32 = 0;
  constructor(private json: string) {}

  /** What comes behind white space, or 0 at the end. */
  skip(): i32 {
    for (; this.at < this.json.length; this.at++) {
      const c = this.json.charCodeAt(this.at);
      if (c != 0x20 && c != 0x09 && c != 0x0a && c != 0x0d) return c;
    }
    return 0;
  }

  value(depth: i32): Json | null {
    const c = this.skip();
    if (depth > 127) return null;
    if (c == 0x22) {
      const text = this.string();
      return text === null ? null : new Json(Kind.String, text);
    }
    if (c == 0x5b || c == 0x7b) return this.list(c, depth);
    if (this.word("null")) return new Json(Kind.Null);
    if (this.word("true")) return new Json(Kind.True);
    if (this.word("false")) return new Json(Kind.False);
    const start = this.at;
    while (this.at < this.json.length && "+-.0123456789Ee".includes(this.json.charAt(this.at))) this.at++;
    return start == this.at ? null : new Json(Kind.Number, this.json.substring(start, this.at));
  }

  private list(open: i32, depth: i32): Json | null {
    const object = open == 0x7b;
    const out = new Json(object ? Kind.Object : Kind.Array), close = open + 2;
    this.at++;
    if (this.skip() == close) {
      this.at++;
      return out;
    }
    while (true) {
      if (object) {
        const name = this.skip() == 0x22 ? this.string() : null;
        if (name === null || this.skip() != 0x3a) return null;
        this.at++;
        out.names.push(name);
      }
      const item = this.value(depth + 1);
      if (item === null) return null;
      out.items.push(item);
      const c = this.skip();
      this.at++;
      if (c == close) return out;
      if (c != 0x2c) return null;
    }
  }

  private word(word: string): bool {
    if (!this.json.startsWith(word, this.at)) return false;
    this.at += word.length;
    return true;
  }

  private string(): string | null {
    let out = "";
    for (let start = ++this.at; this.at < this.json.length; this.at++) {
      const c = this.json.charCodeAt(this.at);
      if (c != 0x22 && c != 0x5c) continue;
      out += this.json.substring(start, this.at++);
      if (c == 0x22) return out;
      const escaped = this.json.charAt(this.at);
      const known = "\"\\/bfnrt".indexOf(escaped);
      if (known >= 0) out += "\"\\/\b\f\n\r\t".charAt(known);
      else if (escaped == "u" && this.at + 4 < this.json.length) {
        out += String.fromCharCode(<i32>parseInt(this.json.substring(this.at + 1, (this.at += 4) + 1), 16));
      } else return null;
      start = this.at + 1;
    }
    return null;
  }
}

const K: StaticArray<u32> = [
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/** The SHA-256 of these bytes in hexadecimal digits. */
export function sha256(data: ArrayBuffer): string {
  const hash: StaticArray<u32> = [
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
  ];
  const length = data.byteLength, size = (length + 72) & ~63;
  const padded = new ArrayBuffer(size), at = changetype<usize>(padded);
  memory.copy(at, changetype<usize>(data), length);
  store<u8>(at + length, 0x80);
  store<u64>(at + size - 8, bswap<u64>(<u64>length * 8));
  const w = new StaticArray<u32>(64), h = new StaticArray<u32>(8);
  for (let block = 0; block < size; block += 64) {
    for (let n = 0; n < 8; n++) h[n] = hash[n];
    for (let n = 0; n < 64; n++) {
      if (n < 16) w[n] = bswap<u32>(load<u32>(at + block + n * 4));
      else {
        const a = w[n - 15], b = w[n - 2];
        w[n] = w[n - 16] + w[n - 7] + (rotr(a, 7) ^ rotr(a, 18) ^ (a >> 3)) + (rotr(b, 17) ^ rotr(b, 19) ^ (b >> 10));
      }
      const e = h[4], a = h[0];
      const one = h[7] + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) + ((e & h[5]) ^ (~e & h[6])) + K[n] + w[n];
      const two = (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) + ((a & h[1]) ^ (a & h[2]) ^ (h[1] & h[2]));
      for (let m = 7; m > 0; m--) h[m] = h[m - 1];
      h[4] += one;
      h[0] = one + two;
    }
    for (let n = 0; n < 8; n++) hash[n] += h[n];
  }
  let out = "";
  for (let n = 0; n < 64; n++) out += "0123456789abcdef".charAt((hash[n >> 3] >> (28 - ((n & 7) << 2))) & 15);
  return out;
}
