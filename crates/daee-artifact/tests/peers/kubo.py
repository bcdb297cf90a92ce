"""Has a real Kubo, as a library, read a file out of blocks that came in a CAR.

kubo.py LIBRARY FOLDER CAR CID OUT: puts the CAR's blocks where Kubo keeps its own, starts it on the loopback with no
peers, and lets it write the file behind the CID.
"""

import base64
import ctypes
import json
import os
import subprocess
import sys


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def blocks(car):
    """Multihash and bytes of each block, by lengths alone: Kubo is to judge them."""
    data = open(car, "rb").read()
    length, at = varint(data, 0)
    at += length
    while at < len(data):
        length, at = varint(data, at)
        yield data[at + 2 : at + 36], data[at + 36 : at + length]
        at += length


def store(repo, multihash, block):
    """As flatfs has it: in a folder named by the last letters but one of the key."""
    key = base64.b32encode(multihash).decode().rstrip("=")
    folder = os.path.join(repo, "blocks", key[-3:-1])
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, key + ".data"), "wb") as file:
        file.write(block)


def base58(data):
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        text = alphabet[rest] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def configure(repo):
    """An identity of its own, and nobody to talk to."""
    secret = subprocess.run(
        ["openssl", "genpkey", "-algorithm", "ed25519", "-outform", "DER"], capture_output=True, check=True
    ).stdout
    public = subprocess.run(
        ["openssl", "pkey", "-inform", "DER", "-pubout", "-outform", "DER"],
        input=secret, capture_output=True, check=True,
    ).stdout[-32:]
    path = os.path.join(repo, "config")
    config = json.load(open(path))
    config["Identity"] = {
        "PeerID": base58(b"\x00\x24\x08\x01\x12\x20" + public),
        "PrivKey": base64.b64encode(b"\x08\x01\x12\x40" + secret[-32:] + public).decode(),
    }
    config["Bootstrap"] = []
    config["Discovery"]["MDNS"]["Enabled"] = False
    config["Addresses"]["Swarm"] = ["/ip4/127.0.0.1/tcp/0"]
    config["Swarm"].update(DisableNatPortMap=True, RelayClient={"Enabled": False}, RelayService={"Enabled": False})
    config["AutoNAT"] = {"ServiceMode": "disabled"}
    config["Routing"]["Type"] = "none"
    config["Reprovider"] = {"Interval": "0s"}
    json.dump(config, open(path, "w"))


def main():
    library, folder, car, cid, out = sys.argv[1:]
    kubo = ctypes.CDLL(library)
    kubo.AddFile.restype = ctypes.c_char_p
    repo = os.path.join(folder, "repo")
    os.makedirs(repo)
    assert kubo.CreateRepo(repo.encode()) == 1, "no repository"
    configure(repo)
    os.makedirs(os.path.join(repo, "blocks"), exist_ok=True)
    with open(os.path.join(repo, "blocks", "SHARDING"), "w") as file:
        file.write("/repo/flatfs/shard/v1/next-to-last/2\n")
    for multihash, block in blocks(car):
        store(repo, multihash, block)
    assert kubo.RunNode(repo.encode()) >= 0, "no node"
    got = kubo.Download(repo.encode(), cid.encode(), out.encode())
    print(json.dumps({"downloaded": got}))
    kubo.CleanupNode(repo.encode())


main()
