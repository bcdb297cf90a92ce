// daee.js: the module "daee", and the globals `console`, `fetch`, `Response` and some more. An operation that the
// node refuses throws. Operations wait until they are done, so nothing here has to be awaited, and everything may be.
import { call, decode, depth, encode, serve, sha256 } from "daee/node";

/** What the node refused: `code` is "denied", "limit" and so on, `needs` the permission that is missing. */
export class Refused extends Error {
  constructor(op, { message, ...told }) {
    super(`${op}: ${message}`);
    Object.assign(this, told, { name: "Refused" });
  }
}

/** Runs any operation of docs/spec/door.md. The answer's head, and its body as `body`. */
export function ask(op, head = {}, body = "", reviver = undefined) {
  const [code, text, bytes] = call(op, JSON.stringify(head), toBytes(body));
  const answer = JSON.parse(text, reviver);
  if (code < 0) throw new Refused(op, answer);
  return Object.assign(answer, { body: bytes });
}

/** What lasts. Values are kept as JSON, so that they are what `JSON.parse` gives; bytes are kept as they are. */
export const state = {
  /** The value, or `undefined`. */
  get(key) {
    const bytes = state.getBytes(key);
    return bytes && JSON.parse(decode(bytes));
  },
  /** The bytes, or `undefined`. */
  getBytes(key) {
    try {
      return ask("state.get", { key }).body;
    } catch (error) {
      if (error.code === "not_found") return undefined;
      throw error;
    }
  },
  set(key, value) {
    const json = isBytes(value) ? value : JSON.stringify(value);
    if (json === undefined) throw new TypeError(`${key}: ${typeof value} is no JSON`);
    ask("state.set", { key }, json);
  },
  /** Whether it was there. */
  delete: (key) => ask("state.delete", { key }).existed,
  /** At most 1000 keys in the order of their bytes: `{ prefix, after, limit }`. */
  keys: (which = {}) => ask("state.list", which).keys,
  /** Sets a key to text or bytes if it still has these bytes, or, for `undefined`, if there is none. Whether it did. */
  swap(key, old, value) {
    const expect = old === undefined ? "absent" : { sha256: sha256(toBytes(old)) };
    return ask("state.cas", { key, expect }, value).swapped;
  },
};

/** Files that last, in folders. Names in a path are parted by `/`, and no path leaves the agent's files. */
export const files = {
  /** The bytes: at most `bytes` from `offset` on; at most 4 MiB at once. */
  read: (path, { offset, bytes } = {}) => ask("file.read", { path, offset, bytes }).body,
  /** Writes text or bytes: all of a file or, from `offset` on, a part; "end" is behind it. It is made if need be. */
  write: (path, content, { offset } = {}) => void ask("file.write", { path, offset }, content),
  /** Cuts a file to this size, or fills it up with zeros. */
  truncate: (path, size) => void ask("file.truncate", { path, size }),
  /** `kind`, which is "file" or "directory", `size` and, as a BigInt, `modified_ns`. */
  stat: (path) => shape(ask("file.stat", { path }, "", exact)),
  /** Makes an empty file. One that is there is left alone, or refused if it must be new. It is given as by `stat`. */
  create: (path, isNew = false) => shape(ask("file.create", { path, new: isNew }, "", exact)),
  /** Makes a folder, in one that is there. It is given as by `stat`. */
  mkdir: (path) => shape(ask("file.mkdir", { path }, "", exact)),
  /** `name` and `kind` of what is in a folder, in order: `{ after, limit }`, at most 1000. */
  list: (path, { after, limit } = {}) =>
    ask("file.list", { path, after, limit }).entries.map(({ name, kind }) => ({ name, kind })),
  /** Removes a file or an empty folder. */
  remove: (path) => void ask("file.remove", { path }),
  /** Moves a file or a folder. It takes the place of a file, or of an empty folder. */
  rename: (path, to) => void ask("file.rename", { path, to }),
  /** Sets when it was last written: now, or a time in nanoseconds since 1970 as a BigInt. */
  touch(path, modifiedNs) {
    ask("file.touch", { path, modified_ns: modifiedNs === undefined ? modifiedNs : JSON.rawJSON(modifiedNs) });
  },
};

// Nanoseconds are more than a number holds.
const exact = (name, value, { source }) => (name === "modified_ns" ? BigInt(source) : value);
const shape = ({ kind, size, modified_ns }) => ({ kind, size, modified_ns });

/** Events of kind `timer`, once, with this name. */
export const timers = {
  after: (name, ms) => void ask("timer.set", { name, after_ms: ms }),
  at: (name, ms) => void ask("timer.set", { name, at_ms: ms }),
  /** Whether it was there. */
  cancel: (name) => ask("timer.cancel", { name }).existed,
};

/** Milliseconds since 1970, as `Date.now()`: the event's, and what was waited for since. */
export const now = () => ask("now").ms;

/** At most 4096 random bytes. */
export const random = (count) => ask("random", { bytes: count }).body;

/** Logs a line at "debug", "info", "warn" or "error", as `console` does. */
export const log = (level, text) => void ask("log", { level, text });

/** Publishes text or bytes on chain. */
export const publish = (topic, value) => void ask("chain.publish", { topic }, value);

/** The content of a CID, as bytes. */
export const readIpfs = (cid, maxBytes) => ask("ipfs.read", { cid, max_bytes: maxBytes }).body;

class Headers {
  #pairs;
  constructor(headers = []) {
    const pairs = Symbol.iterator in headers ? [...headers] : Object.entries(headers);
    this.#pairs = pairs.map(([name, value]) => [String(name).toLowerCase(), String(value)]);
  }
  get(name) {
    const values = this.#pairs.filter((pair) => pair[0] === name.toLowerCase()).map((pair) => pair[1]);
    return values.length ? values.join(", ") : null;
  }
  has = (name) => this.get(name) !== null;
  [Symbol.iterator]() {
    return this.#pairs[Symbol.iterator]();
  }
}

class Message {
  constructor(body, headers) {
    this.body = toBytes(body);
    this.headers = new Headers(headers);
  }
  bytes = () => this.body;
  text = () => decode(this.body);
  json = () => JSON.parse(this.text());
}

class Request extends Message {
  constructor({ method, path, query, headers, body }) {
    super(body, headers);
    Object.assign(this, { method, path, query });
  }
}

class Response extends Message {
  constructor(body = "", { status = 200, headers = typeof body === "string" ? TEXT : [] } = {}) {
    super(body, headers);
    this.status = status;
  }
  get ok() {
    return this.status >= 200 && this.status < 300;
  }
  static json(value, { status, headers = JSON_TYPE } = {}) {
    return new Response(JSON.stringify(value), { status, headers });
  }
}

const TEXT = { "content-type": "text/plain; charset=utf-8" };
const JSON_TYPE = { "content-type": "application/json" };

function fetch(url, { method, headers, body, timeout } = {}) {
  const pairs = headers && [...new Headers(headers)];
  const answer = ask("http.fetch", { url: String(url), method, headers: pairs, timeout_ms: timeout }, body);
  return new Response(answer.body, answer);
}

const logs = (level) => (...values) => log(level, values.map(shown).join(" "));

function shown(value) {
  if (typeof value === "string") return value;
  if (value instanceof Error) return `${value}\n${value.stack}`.trimEnd();
  return (typeof value === "object" ? JSON.stringify(value) : undefined) ?? String(value);
}

const console = {
  debug: logs("debug"), log: logs("info"), info: logs("info"), warn: logs("warn"), error: logs("error"),
};

const crypto = {
  getRandomValues(array) {
    toBytes(array).set(random(array.byteLength));
    return array;
  },
};

class TextEncoder {
  encode = (text = "") => encode(text);
}

class TextDecoder {
  decode = (bytes = "") => decode(toBytes(bytes));
}

for (const [name, value] of Object.entries({
  console, crypto, fetch, Headers, Request, Response, TextDecoder, TextEncoder,
})) {
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
}

// The stack of a node ends before QuickJS's own does, and not with an exception.
const JSON_DEPTH_MAX = 1000;
const { parse } = JSON;
JSON.parse = (text, reviver) => {
  const json = String(text);
  if (depth(json) > JSON_DEPTH_MAX) throw new RangeError("the JSON is nested too deeply");
  return parse(json, reviver);
};

function isBytes(value) {
  return value instanceof ArrayBuffer || ArrayBuffer.isView(value);
}

function toBytes(value) {
  if (value instanceof Uint8Array) return value;
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  return encode(String(value));
}

/** Gives each event to the function that the agent exports under the name of its kind. */
export function run(agent) {
  serve(async () => {
    const event = ask("event.next");
    const handle = agent[event.kind];
    if (typeof handle !== "function") return;
    const given = event.kind === "http" ? new Request(event) : event;
    const answer = await handle(given);
    if (event.kind !== "http" || answer === undefined) return;
    const response =
      answer instanceof Response ? answer
      : typeof answer === "string" || isBytes(answer) ? new Response(answer)
      : Response.json(answer);
    ask("event.answer", { status: response.status, headers: [...response.headers] }, response.body);
  });
}
