// Does the calls that a request's body lists, by name or by function, and answers with what each gave.
import * as daee from "./daee";
import { Head, Json, Kind, Reply, call, file, next, state, timer } from "./daee";

/** What comes as a length and so many bytes. */
class Parts {
  at: i32 = 0;
  constructor(public bytes: ArrayBuffer) {}

  flag(): bool {
    return load<u8>(changetype<usize>(this.bytes) + this.at++) != 0;
  }
  part(): ArrayBuffer {
    const start = this.at + 4;
    this.at = start + load<u32>(changetype<usize>(this.bytes) + this.at);
    return this.bytes.slice(start, this.at);
  }
}

let out: u8[] = [];

function number(value: i32): void {
  for (let shift = 0; shift < 32; shift += 8) out.push(<u8>(value >> shift));
}

function part(bytes: ArrayBuffer): void {
  number(bytes.byteLength);
  const view = Uint8Array.wrap(bytes);
  for (let i = 0; i < view.length; i++) out.push(view[i]);
}

function text(head: Json, name: string): string {
  return head.get(name).text;
}

function maybe(head: Json, name: string): string | null {
  const field = head.get(name);
  return field.kind == Kind.None ? null : field.text;
}

function whole(head: Json, name: string, otherwise: u64): u64 {
  const field = head.get(name);
  return field.kind == Kind.None ? otherwise : U64.parseInt(field.text);
}

function headers(head: Json): string[][] {
  return head.get("headers").items.map<string[]>((pair) => [pair.items[0].text, pair.items[1].text]);
}

function byFunction(op: string, head: Json, body: ArrayBuffer): Reply {
  const key = text(head, "key"), name = text(head, "name"), path = text(head, "path"), after = maybe(head, "after");
  const done = new Reply(op, 0, "{}", new ArrayBuffer(0)), limit = <u32>whole(head, "limit", 1000);
  if (op == "log") {
    const level = maybe(head, "level");
    daee.log(level === null ? "info" : level, text(head, "text"));
    return done;
  }
  if (op == "now") {
    done.head = new Head().number("ms", daee.now()).end();
    return done;
  }
  if (op == "random") return daee.random(<u32>whole(head, "bytes", 0));
  if (op == "event.next") return call("event.next");
  if (op == "event.answer") return daee.answerWith(<u32>whole(head, "status", 200), headers(head), body);
  if (op == "state.get") return state.get(key);
  if (op == "state.set") return state.set(key, body);
  if (op == "state.delete") return state.remove(key);
  if (op == "state.list") return state.list(text(head, "prefix"), after, limit);
  // The vectors' hash is that of "1".
  if (op == "state.cas") {
    return state.swap(key, head.get("expect").kind == Kind.String ? null : daee.bytes("1"), body);
  }
  if (op == "timer.set") {
    const at = head.get("at_ms");
    return at.kind == Kind.None ? timer.after(name, whole(head, "after_ms", 0)) : timer.at(name, U64.parseInt(at.text));
  }
  if (op == "timer.cancel") return timer.cancel(name);
  if (op == "http.fetch") {
    const timeout = <u32>whole(head, "timeout_ms", 0);
    const fetched = daee.fetch(text(head, "url"), maybe(head, "method"), headers(head), body, timeout);
    if (fetched.refused) return fetched;
    const pair = ["content-type", fetched.header("content-type")!];
    done.head = new Head().headers([pair]).number("status", fetched.number("status")).end();
    done.body = fetched.body;
    return done;
  }
  if (op == "ipfs.read") return daee.ipfsRead(text(head, "cid"), whole(head, "max_bytes", 1 << 20));
  if (op == "chain.publish") return daee.publish(text(head, "topic"), body);
  if (op == "file.read") return file.read(path, whole(head, "offset", 0), whole(head, "bytes", 4 << 20));
  if (op == "file.write") {
    const offset = head.get("offset");
    if (offset.kind == Kind.None) return file.write(path, body);
    if (offset.kind == Kind.String) return file.append(path, body);
    return file.writeAt(path, U64.parseInt(offset.text), body);
  }
  if (op == "file.truncate") return file.truncate(path, whole(head, "size", 0));
  if (op == "file.stat") return file.stat(path);
  if (op == "file.create") return file.create(path, head.get("new").kind == Kind.True);
  if (op == "file.mkdir") return file.mkdir(path);
  if (op == "file.list") return file.list(path, after, limit);
  if (op == "file.remove") return file.remove(path);
  if (op == "file.rename") return file.rename(path, text(head, "to"));
  if (op == "file.touch") {
    const modified = head.get("modified_ns");
    return modified.kind == Kind.None ? file.touch(path) : file.touchAt(path, U64.parseInt(modified.text));
  }
  throw new Error("there is no function for " + op);
}

export function daee_turn(): i32 {
  const calls = new Parts(next().body);
  out = [];
  while (calls.at < calls.bytes.byteLength) {
    const typed = calls.flag(), op = String.UTF8.decode(calls.part());
    const head = String.UTF8.decode(calls.part()), body = calls.part();
    const reply = typed ? byFunction(op, Json.parse(head), body) : call(op, head, body);
    number(reply.code);
    part(daee.bytes(reply.head));
    part(reply.body);
  }
  const all = new Uint8Array(out.length);
  for (let i = 0; i < out.length; i++) all[i] = out[i];
  daee.answerWith(200, [], all.buffer);
  return 0;
}
