"""Writes the files named on standard input as a newc cpio archive."""
import os
import stat
import sys

out = sys.stdout.buffer
number = 0


def entry(name, info, data):
    global number
    number += 1
    mode = info.st_mode if info else 0
    fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0,
              len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08X" % field for field in fields)
    for part in (head + name + b"\0", data):
        out.write(part + b"\0" * (-len(part) % 4))


for line in sys.stdin:
    path = line.rstrip("\n")
    info = os.lstat(path)
    data = b""
    if stat.S_ISLNK(info.st_mode):
        data = os.readlink(path).encode()
    elif stat.S_ISREG(info.st_mode):
        with open(path, "rb") as file:
            data = file.read()
    name = path[2:] if path.startswith("./") else path
    entry(name.encode(), info, data)
entry(b"TRAILER!!!", None, b"")
