# Does the calls that a request's body lists, by name or by function, and answers with what each gave.
import json
from daee import Refused, Response, ask, dumps, fetch, files, log, now, publish, random, read_ipfs, state, timers

CODES = ["denied", "unknown", "malformed", "limit", "not_found", "outside", "not_now", "conflict"]


def by_function(op, head, body):
    """The answer's head, its body, and perhaps the answer to the request."""
    get = head.get
    key, name, path = get("key"), get("name"), get("path")
    if op == "log":
        log(head["text"], get("level", "info"))
    elif op == "now":
        return {"ms": now()}, b""
    elif op == "random":
        return {}, random(head["bytes"])
    elif op == "event.next":
        ask("event.next")
    elif op == "event.answer":
        return {}, b"", Response(body, get("status", 200), get("headers", []))
    elif op == "state.get":
        value = state.get_bytes(key)
        if value is None:
            raise Refused(op, {"code": "not_found", "message": "there is none"})
        return {}, value
    elif op == "state.set":
        state.set(key, body)
    elif op == "state.delete":
        return {"existed": state.delete(key)}, b""
    elif op == "state.list":
        return {"keys": state.keys(**head)}, b""
    elif op == "state.cas":
        # The vectors' hash is that of "1".
        return {"swapped": state.swap(key, None if head["expect"] == "absent" else "1", body)}, b""
    elif op == "timer.set":
        if "at_ms" in head:
            timers.at(name, head["at_ms"])
        else:
            timers.after(name, head["after_ms"])
    elif op == "timer.cancel":
        return {"existed": timers.cancel(name)}, b""
    elif op == "http.fetch":
        fetched = fetch(body=body, **head)
        return {"status": fetched.status, "headers": fetched.headers}, fetched.body
    elif op == "ipfs.read":
        return {}, read_ipfs(**head)
    elif op == "chain.publish":
        publish(head["topic"], body)
    elif op == "file.read":
        return {}, files.read(**head)
    elif op == "file.write":
        files.write(content=body, **head)
    elif op == "file.truncate":
        files.truncate(**head)
    elif op == "file.stat":
        return files.stat(path), b""
    elif op == "file.create":
        return files.create(**head), b""
    elif op == "file.mkdir":
        return files.mkdir(path), b""
    elif op == "file.list":
        return {"entries": files.list(**head)}, b""
    elif op == "file.remove":
        files.remove(path)
    elif op == "file.rename":
        files.rename(**head)
    elif op == "file.touch":
        files.touch(**head)
    else:
        raise ValueError(op)
    return {}, b""


def http(request):
    rest, given, response, answered = request.body, b"", None, False

    def part():
        nonlocal rest
        end = 4 + int.from_bytes(rest[:4], "little")
        found, rest = rest[4:end], rest[end:]
        return found

    def add(value):
        nonlocal given
        given += len(value).to_bytes(4, "little") + value

    while rest:
        typed, rest = rest[0], rest[1:]
        op, head, body = str(part(), "utf-8"), json.loads(part()), part()
        code, answer = 0, b""
        try:
            if typed:
                done = by_function(op, head, body)
                told, answer = done[:2]
                if len(done) == 3:
                    response = done[2]
            else:
                told, answer = ask(op, head, body)
                answered = answered or op == "event.answer"
        except Refused as error:
            code = -1 - CODES.index(error.code)
            told = {"code": error.code, "message": str(error), "needs": error.needs, "errno": error.errno}
            told["ms"] = error.ms
        given += (code & 0xffffffff).to_bytes(4, "little")
        add(dumps(told).encode())
        add(answer)
    return None if answered else response or given
