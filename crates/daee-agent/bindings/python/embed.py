"""embed.py MODULE OUT FILE...: puts files into a module of WebAssembly, as one more data segment.

It lies at FILES_AT. Of each file there are the length of its text, its name, a 0, its text and another 0; a length of
2^32-1 ends them.
"""
import os
import sys

# build.sh leaves this part of the memory to it, and daee.c reads it there.
FILES_AT, FILES_BYTES_MAX = 1 << 20, 256 << 10
DATA, DATA_COUNT = 11, 12


def main(module, out, *files):
    segment = b""
    for file in files:
        with open(file, "rb") as opened:
            text = opened.read()
        segment += len(text).to_bytes(4, "little") + os.path.basename(file).encode() + b"\0" + text + b"\0"
    segment += b"\xff" * 4
    if len(segment) > FILES_BYTES_MAX:
        sys.exit("the files have %d bytes, and there is room for %d" % (len(segment), FILES_BYTES_MAX))
    with open(module, "rb") as opened:
        wasm = opened.read()
    made, at = wasm[:8], 8
    while at < len(wasm):
        section, (length, start) = wasm[at], number(wasm, at + 1)
        at = start + length
        content = wasm[start:at]
        if section in (DATA, DATA_COUNT):
            count, rest = number(content, 0)
            content = unsigned(count + 1) + content[rest:]
        if section == DATA:
            content += b"\0\x41" + signed(FILES_AT) + b"\x0b" + unsigned(len(segment)) + segment
        made += bytes([section]) + unsigned(len(content)) + content
    with open(out, "wb") as opened:
        opened.write(made)


def number(data, at):
    """The unsigned LEB128 number there, and what is behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def unsigned(value):
    low = [value & 127]
    while value := value >> 7:
        low.append(value & 127)
    return bytes(byte | 128 for byte in low[:-1]) + bytes(low[-1:])


def signed(value):
    # A number from zero up ends with a bit that says so.
    made = bytearray(unsigned(value))
    if made[-1] & 64:
        made[-1] |= 128
        made.append(0)
    return bytes(made)


main(*sys.argv[1:])
