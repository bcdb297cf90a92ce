// Does the calls that a request's body lists, by name or by function, and answers with what each gave.
import { Refused, ask, files, log, now, publish, random, readIpfs, state, timers } from "daee";

const BY_FUNCTION = {
  "log": ({ level = "info", text }) => log(level, text),
  "now": () => ({ ms: now() }),
  "random": ({ bytes }) => [{}, random(bytes)],
  "event.next": () => ask("event.next"),
  "event.answer": ({ status, headers }, body) => new Response(body, { status, headers }),
  "state.get"({ key }) {
    const value = state.getBytes(key);
    if (value === undefined) throw new Refused("state.get", { code: "not_found" });
    return [{}, value];
  },
  "state.set": ({ key }, body) => state.set(key, body),
  "state.delete": ({ key }) => ({ existed: state.delete(key) }),
  "state.list": (which) => ({ keys: state.keys(which) }),
  // The vectors' hash is that of "1".
  "state.cas": ({ key, expect }, body) => ({ swapped: state.swap(key, expect === "absent" ? undefined : "1", body) }),
  "timer.set": ({ name, at_ms, after_ms }) =>
    at_ms === undefined ? timers.after(name, after_ms) : timers.at(name, at_ms),
  "timer.cancel": ({ name }) => ({ existed: timers.cancel(name) }),
  "http.fetch"({ url, method, headers, timeout_ms: timeout }, body) {
    const { status, headers: given, body: bytes } = fetch(url, { method, headers, body, timeout });
    return [{ status, headers: [...given] }, bytes];
  },
  "ipfs.read": ({ cid, max_bytes }) => [{}, readIpfs(cid, max_bytes)],
  "chain.publish": ({ topic }, body) => publish(topic, body),
  "file.read": ({ path, ...part }) => [{}, files.read(path, part)],
  "file.write": ({ path, offset }, body) => files.write(path, body, { offset }),
  "file.truncate": ({ path, size }) => files.truncate(path, size),
  "file.stat": ({ path }) => files.stat(path),
  "file.create": ({ path, new: isNew }) => files.create(path, isNew),
  "file.mkdir": ({ path }) => files.mkdir(path),
  "file.list": ({ path, ...which }) => ({ entries: files.list(path, which) }),
  "file.remove": ({ path }) => files.remove(path),
  "file.rename": ({ path, to }) => files.rename(path, to),
  "file.touch": ({ path, modified_ns }) => files.touch(path, modified_ns === undefined ? undefined : BigInt(modified_ns)),
};
const CODES = ["denied", "unknown", "malformed", "limit", "not_found", "outside", "not_now", "conflict"];
const big = (name, value) => (typeof value === "bigint" ? JSON.rawJSON(value) : value);

export function http({ body }) {
  const given = [];
  let at = 0, response, answered = false;
  const part = () => {
    const length = new DataView(body.buffer).getUint32(at, true);
    return body.subarray(at + 4, (at += 4 + length));
  };
  const number = (value) => given.push(new Uint8Array(Int32Array.of(value).buffer));
  const bytes = (value) => number(value.byteLength) && given.push(value);
  while (at < body.length) {
    const typed = body[at++];
    const [op, head] = [part(), part()].map((text) => new TextDecoder().decode(text));
    const input = part();
    let code = 0, told = {}, answer = new Uint8Array();
    try {
      const done = typed ? BY_FUNCTION[op](JSON.parse(head), input) : ask(op, JSON.parse(head), input, exact);
      if (done instanceof Response) response = done;
      else if (Array.isArray(done)) [told, answer] = done;
      else if (typed) told = done ?? {};
      else ({ body: answer, ...told } = done);
      answered ||= op === "event.answer" && !typed;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      code = -1 - CODES.indexOf(error.code);
      const { needs, errno, ms } = error;
      told = { code: error.code, message: error.message, needs, errno, ms };
    }
    number(code);
    bytes(new TextEncoder().encode(JSON.stringify(told, big)));
    bytes(answer);
  }
  const out = new Uint8Array(given.reduce((length, part) => length + part.length, 0));
  given.reduce((at, part) => (out.set(part, at), at + part.length), 0);
  return answered ? undefined : response ?? out;
}

function exact(name, value, { source }) {
  return name === "modified_ns" ? BigInt(source) : value;
}
