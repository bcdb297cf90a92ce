// The way to the node: two imports, frames, and the JSON in them.

// @ts-ignore: decorator
@external("daee", "call")
declare function importCall(op: usize, opLen: usize, input: usize, inputLen: usize): i32;
// @ts-ignore: decorator
@external("daee", "read")
declare function importRead(out: usize, cap: usize): i32;

/** The code of what is not there. */
export const NOT_FOUND: i32 = -5;

/** What an operation gave. With a negative code it was refused, and the head says why. */
export class Reply {
  constructor(public code: i32, public head: string, public body: ArrayBuffer) {}

  text(): string {
    return String.UTF8.decode(this.body);
  }
}

/** Does an operation. A frame is a 32-bit little-endian length of the head, the head, and the body. */
export function call(op: string, head: string = "{}", body: string = ""): Reply {
  const name = String.UTF8.encode(op), frame = String.UTF8.encode("\0\0\0\0" + head + body);
  store<u32>(changetype<usize>(frame), String.UTF8.byteLength(head));
  const code = importCall(changetype<usize>(name), name.byteLength, changetype<usize>(frame), frame.byteLength);
  // A refusal does not say how long its reason is; a read of nothing does.
  const length = code < 0 ? importRead(0, 0) : code;
  const answer = new ArrayBuffer(length);
  importRead(changetype<usize>(answer), length);
  if (length < 4) return new Reply(code, "{}", answer);
  const end = 4 + load<u32>(changetype<usize>(answer));
  return new Reply(code, String.UTF8.decode(answer.slice(4, end)), answer.slice(end));
}

/** Does an operation that has to be done: a refusal ends the turn, which is undone. */
export function must(op: string, head: string, body: string = ""): Reply {
  const reply = call(op, head, body);
  if (reply.code < 0) throw new Error(op + ": " + reply.head);
  return reply;
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

/** The text of a name in a head, or nothing. A node writes heads without spaces, and escapes what `quote` does. */
export function field(head: string, name: string): string | null {
  const named = `"${name}":"`;
  for (let i = 0, depth = 0; i < head.length; i++) {
    const c = head.charCodeAt(i);
    if (c == 0x7b || c == 0x5b) depth++;
    if (c == 0x7d || c == 0x5d) depth--;
    if (c != 0x22) continue;
    const found = depth == 1 && head.startsWith(named, i);
    const start = found ? i + name.length + 4 : i + 1;
    for (i = start; i < head.length && head.charCodeAt(i) != 0x22; i++) if (head.charCodeAt(i) == 0x5c) i++;
    if (found) return unquoted(head.substring(start, i));
  }
  return null;
}

function unquoted(text: string): string {
  let out = "";
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) != 0x5c) out += text.charAt(i);
    else if (text.charCodeAt(++i) != 0x75) out += text.charAt(i);
    else out += String.fromCharCode(<i32>parseInt(text.substring(i + 1, (i += 4) + 1), 16));
  }
  return out;
}

export function log(level: string, text: string): void {
  call("log", `{"level":${quote(level)},"text":${quote(text)}}`);
}

/** Said where a program cannot go on, as after a `throw`. The turn is undone. */
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  const said = message === null ? "aborted" : message;
  const where = file === null ? "" : file;
  log("error", `${said} (${where}:${line}:${column})`);
  unreachable();
}
