"""Submits square(n) and prints its result: a client written from docs/protocol.md alone.

Usage: client.py SOCKET NAMESPACE N [QUEUE]
SOCKET is the path of Redis' unix socket. Uses nothing but redis-py and msgpack.
Exits with 0 and prints the value; with 1 and the failure on stderr; with 4 if nothing came within a minute.
"""

import os
import pathlib
import struct
import sys
import time
import uuid

import msgpack
import redis

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "broker" / "src" / "scripts"
WORDS = ["succeeded", "failed", "timed_out", "out_of_memory", "cancelled", "expired", "crashed", "lost"]

HOUR_MS = 3_600_000
MESSAGE_LIFE_MS = 7 * 24 * HOUR_MS
RESULT_TTL_MS = 24 * HOUR_MS
WAIT_S = 60


def script(name, *parts):
    """The text of a script: its parts, then the script itself."""
    files = [SCRIPTS / "parts" / f"{part}.lua" for part in parts] + [SCRIPTS / f"{name}.lua"]
    return b"".join(file.read_bytes() for file in files)


def uuid7():
    """48 bits of milliseconds, then random bits; version 7, variant 2."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    return uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


def message(batch, queue, expires_at_ms, kernel, args):
    """The message of a batch of one."""
    version, flags, lane, attempt, crashes, losses, first, count, blob_offset = 1, 1, 1, 1, 0, 0, 0, 1, 0
    header = b"GM" + struct.pack(">BBBHBBQ", version, flags, lane, attempt, crashes, losses, expires_at_ms)
    header += batch.bytes + struct.pack(">QIIB", first, count, blob_offset, len(queue)) + queue.encode()
    return header + msgpack.packb({"kernel": kernel, "args": [msgpack.packb(args)]}, use_bin_type=True)


def queue_keys(ns, queue):
    """The eight keys of a queue, in the order that every script expects."""
    rests = ["queue:%s", "doorbell:%s", "ready:%s:high", "ready:%s", "ready:%s:low", "scheduled:%s", "dead:%s"]
    return [ns + rest % queue for rest in rests] + [ns + f"dead:{queue}:records"]


def enqueue(client, ns, batch, queue, kernel, args):
    """Puts one task into its queue."""
    seconds, micros = client.time()
    expires_at_ms = seconds * 1000 + micros // 1000 + MESSAGE_LIFE_MS
    keys = [f"{ns}batch:{batch}", f"{ns}batches", f"{ns}queues", f"{ns}paused", f"{ns}none", *queue_keys(ns, queue)]
    argv = [str(batch), f"{ns}done:{batch}", 0, 1, 1, kernel, 1, queue, 2, ""]
    argv += [RESULT_TTL_MS, RESULT_TTL_MS + 24 * HOUR_MS, 50_000_000, 300_000, 1 << 30, "", 0, 0]
    argv.append(message(batch, queue, expires_at_ms, kernel, args))
    call = client.register_script(script("enqueue", "message", "queues", "finish"))
    reply = call(keys=keys, args=argv)
    if reply[0] not in (b"DONE", b"DUPLICATE"):
        sys.exit(f"enqueue answered {reply}")


def wait(client, pubsub, ns, batch):
    """The run of a batch of one, as soon as it is there."""
    deadline = time.monotonic() + WAIT_S
    while True:
        run = client.hget(f"{ns}batch:{batch}", "outcome")
        if run is not None:
            return run
        hint = pubsub.get_message(ignore_subscribe_messages=True, timeout=deadline - time.monotonic())
        if hint is None and time.monotonic() >= deadline:
            print(f"no outcome of {batch}.0 within {WAIT_S} s", file=sys.stderr)
            sys.exit(4)


def read_run(run):
    """Status and payload of the one task of a run."""
    (count,) = struct.unpack_from(">I", run)
    if count != 1:
        sys.exit(f"a batch of one has {count} outcomes")
    # run[5] tells how long the task ran.
    return run[4], msgpack.unpackb(run[6:], raw=False)[0]


def main():
    socket, namespace, n = sys.argv[1:4]
    queue = sys.argv[4] if len(sys.argv) > 4 else "default"
    ns = "{%s}:" % namespace
    client = redis.Redis(unix_socket_path=socket)
    batch = uuid7()
    pubsub = client.pubsub()
    pubsub.subscribe(f"{ns}done:{batch}")
    confirmed = pubsub.get_message(timeout=10)
    if confirmed is None or confirmed["type"] != "subscribe":
        sys.exit("Redis did not confirm the subscription")
    enqueue(client, ns, batch, queue, "square", int(n))
    status, payload = read_run(wait(client, pubsub, ns, batch))
    value = msgpack.unpackb(payload, raw=False)
    if status != 0:
        sys.exit(f"{WORDS[status % 128]}: {value['message']}")
    print(value)


if __name__ == "__main__":
    main()
