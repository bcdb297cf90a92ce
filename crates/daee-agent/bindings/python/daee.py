# daee.py: the module `daee`. An operation that the node refuses raises Refused.
import json
from binascii import hexlify
from hashlib import sha256
from node import call, is_json, serve


class Refused(Exception):
    """What the node refused: `code` is "denied", "limit" and so on, `needs` the permission that is missing."""

    def __init__(self, op, head):
        super().__init__("{}: {}".format(op, head["message"]))
        self.code = head["code"]
        self.needs = head.get("needs")
        self.errno = head.get("errno")
        self.ms = head.get("ms")


def ask(op, head=None, body=b""):
    """Runs any operation of docs/spec/door.md. The answer's head, and its body."""
    head = {name: value for name, value in (head or {}).items() if value is not None}
    code, text, answer = call(op, dumps(head), to_bytes(body))
    told = json.loads(text)
    if code < 0:
        raise Refused(op, told)
    return told, answer


class state:
    """What lasts. Values are kept as JSON; bytes are kept as they are."""

    @staticmethod
    def get(key, default=None):
        value = state.get_bytes(key)
        return default if value is None else loads(value)

    @staticmethod
    def get_bytes(key):
        """The bytes, or None."""
        try:
            return ask("state.get", {"key": key})[1]
        except Refused as error:
            if error.code == "not_found":
                return None
            raise

    @staticmethod
    def set(key, value):
        ask("state.set", {"key": key}, value if is_bytes(value) else dumps(value))

    @staticmethod
    def delete(key):
        """Whether it was there."""
        return ask("state.delete", {"key": key})[0]["existed"]

    @staticmethod
    def keys(prefix=None, after=None, limit=None):
        """At most 1000 keys in the order of their bytes."""
        return ask("state.list", {"prefix": prefix, "after": after, "limit": limit})[0]["keys"]

    @staticmethod
    def swap(key, old, value):
        """Sets a key to text or bytes if it still has these bytes, or, for None, if there is none. Whether it did."""
        expect = "absent"
        if old is not None:
            expect = {"sha256": str(hexlify(sha256(to_bytes(old)).digest()), "ascii")}
        return ask("state.cas", {"key": key, "expect": expect}, value)[0]["swapped"]


class files:
    """Files that last, in folders. Names in a path are parted by `/`, and no path leaves the agent's files."""

    @staticmethod
    def read(path, offset=None, bytes=None):
        """At most so many bytes from `offset` on; at most 4 MiB at once."""
        return ask("file.read", {"path": path, "offset": offset, "bytes": bytes})[1]

    @staticmethod
    def write(path, content, offset=None):
        """Writes text or bytes: all of a file or, from `offset` on, a part; "end" is behind it. It is made if need be."""
        ask("file.write", {"path": path, "offset": offset}, content)

    @staticmethod
    def truncate(path, size):
        """Cuts a file to this size, or fills it up with zeros."""
        ask("file.truncate", {"path": path, "size": size})

    @staticmethod
    def stat(path):
        """`kind`, which is "file" or "directory", `size` and `modified_ns`."""
        return ask("file.stat", {"path": path})[0]

    @staticmethod
    def create(path, new=False):
        """Makes an empty file. One that is there is left alone, or refused if it must be new. Given as by `stat`."""
        return ask("file.create", {"path": path, "new": new})[0]

    @staticmethod
    def mkdir(path):
        """Makes a folder, in one that is there. Given as by `stat`."""
        return ask("file.mkdir", {"path": path})[0]

    @staticmethod
    def list(path="", after=None, limit=None):
        """`name` and `kind` of what is in a folder, in order; at most 1000."""
        return ask("file.list", {"path": path, "after": after, "limit": limit})[0]["entries"]

    @staticmethod
    def remove(path):
        """Removes a file or an empty folder."""
        ask("file.remove", {"path": path})

    @staticmethod
    def rename(path, to):
        """Moves a file or a folder. It takes the place of a file, or of an empty folder."""
        ask("file.rename", {"path": path, "to": to})

    @staticmethod
    def touch(path, modified_ns=None):
        """Sets when it was last written: now, or a time in nanoseconds since 1970."""
        ask("file.touch", {"path": path, "modified_ns": modified_ns})


class timers:
    """Events of kind `timer`, once, with this name."""

    @staticmethod
    def after(name, ms):
        ask("timer.set", {"name": name, "after_ms": ms})

    @staticmethod
    def at(name, ms):
        ask("timer.set", {"name": name, "at_ms": ms})

    @staticmethod
    def cancel(name):
        """Whether it was there."""
        return ask("timer.cancel", {"name": name})[0]["existed"]


def log(text, level="info"):
    """`print` logs at "info" too."""
    ask("log", {"text": str(text), "level": level})


def now():
    """Milliseconds since 1970."""
    return ask("now")[0]["ms"]


def random(count):
    return ask("random", {"bytes": count})[1]


def publish(topic, value):
    """Publishes text or bytes on chain."""
    ask("chain.publish", {"topic": topic}, value)


def read_ipfs(cid, max_bytes=None):
    """The content of a CID, as bytes."""
    return ask("ipfs.read", {"cid": cid, "max_bytes": max_bytes})[1]


class Message:
    """`headers` are pairs, `body` is bytes."""

    def __init__(self, body, headers):
        self.body = to_bytes(body)
        self.headers = headers

    def header(self, name):
        """The first header of this name, or None."""
        for known, value in self.headers:
            if known.lower() == name.lower():
                return value

    def text(self):
        return str(self.body, "utf-8")

    def json(self):
        return loads(self.body)


class Request(Message):
    def __init__(self, head, body):
        super().__init__(body, head["headers"])
        self.method = head["method"]
        self.path = head["path"]
        self.query = head["query"]


class Response(Message):
    def __init__(self, body=b"", status=200, headers=None):
        if headers is None:
            headers = [] if is_bytes(body) else [("content-type", "text/plain; charset=utf-8")]
        super().__init__(body, headers)
        self.status = status


def fetch(url, method=None, headers=None, body=b"", timeout_ms=None):
    head = {"url": url, "method": method, "headers": headers, "timeout_ms": timeout_ms}
    told, answer = ask("http.fetch", head, body)
    return Response(answer, told["status"], told["headers"])


def loads(text):
    """What JSON says, or a ValueError."""
    if not is_json(to_bytes(text)):
        raise ValueError("it is no JSON")
    return json.loads(text)


def dumps(value):
    """JSON without spaces. Names are sorted, so that the same value is always the same bytes."""
    if isinstance(value, dict):
        fields = [json.dumps(name) + ":" + dumps(value[name]) for name in sorted(value)]
        return "{" + ",".join(fields) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([dumps(item) for item in value]) + "]"
    return json.dumps(value)


def is_bytes(value):
    return isinstance(value, (bytes, bytearray))


def to_bytes(value):
    return value if is_bytes(value) else value.encode()


def to_response(answer):
    if isinstance(answer, Response):
        return answer
    if isinstance(answer, str) or is_bytes(answer):
        return Response(answer)
    return Response(dumps(answer), headers=[("content-type", "application/json")])


def turn():
    """Gives the event to the function of agent.py that has the name of its kind."""
    event, body = ask("event.next")
    kind = event["kind"]
    handle = getattr(agent, kind, None)
    if not callable(handle):
        return
    if kind != "http":
        event["body"] = body
        handle(event)
        return
    answer = handle(Request(event, body))
    if answer is not None:
        answer = to_response(answer)
        head = {"status": answer.status, "headers": answer.headers}
        ask("event.answer", head, answer.body)


import agent

serve(turn)
