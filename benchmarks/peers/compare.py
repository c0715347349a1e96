"""Compares Gristmill with Celery and with Python's process pools. Run by benchmarks/peers/run.

Two processes compute in every case. The clock runs from the first call until all results are in the caller's
hands; processes, pools and workers are started and warm before. Every result is checked. Each figure is the
best of several rounds, in which all take turns.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROCESSES = 2
SQUARES = 20_000
LONG_TASKS = 200
# Long tasks are made about so long in either language; how long they were is printed with each run, and what
# compares is the share of the time for which the processes computed.
LONG_SECONDS = 0.010


@contextmanager
def ending(process):
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def redis(stack):
    server = shutil.which("redis-server") or shutil.which("valkey-server")
    if not server:
        sys.exit("no redis-server on PATH: apt-get install redis-server")
    place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peers-")))
    config = f"port 0\nunixsocket {place}/s\nsave \"\"\ndir {place}\n"
    process = subprocess.Popen([server, "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    stack.enter_context(ending(process))
    process.stdin.write(config.encode())
    process.stdin.close()
    wait(lambda: (place / "s").exists())
    return place


def wait(condition):
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            sys.exit("something did not start within 30 s")
        time.sleep(0.02)


def timed(call):
    start = time.perf_counter()
    results = call()
    return results, time.perf_counter() - start


class Gristmill:
    """The command line, started anew for each run: its start counts, reading and writing files as well."""

    def __init__(self, stack, place, binaries):
        self.place, self.program = place, binaries / "gristmill"
        self.environment = os.environ | {"GRISTMILL_REDIS": f"redis+unix://{place}/s", "GRISTMILL_LOG": "error"}
        worker = [binaries / "gristmill-worker", "--consumers", str(PROCESSES)]
        self.worker = stack.enter_context(ending(subprocess.Popen(worker, env=self.environment)))
        wait(lambda: "square" in self.run("kernels").stdout)

    def run(self, *args):
        return subprocess.run([self.program, *args], env=self.environment, check=True, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def map(self, kernel, items, *options):
        jobs, done = self.place / "jobs", self.place / "done"
        jobs.write_text("".join(f"{item}\n" for item in items))
        ran, taken = timed(lambda: self.run("map", kernel, "--input", jobs, "--output", done, "--summary=json", *options))
        computed = json.loads(ran.stderr)["serial_ms"] / 1000
        return [json.loads(line) for line in done.read_text().splitlines()], computed, taken

    def sized(self):
        """The n at which a task takes LONG_SECONDS."""
        n = 5_000_000
        return int(n * LONG_SECONDS / min(self.map("sum_sqrt", [n] * PROCESSES)[1] / PROCESSES for _ in range(20)))


class Celery:
    def __init__(self, stack):
        command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--pool", "prefork", "--concurrency",
                   str(PROCESSES), "--loglevel", "ERROR", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        stack.enter_context(ending(subprocess.Popen(command, cwd=Path(__file__).parent, **quiet)))

    def run(self, *args):
        import tasks

        # A new client for each run: one that has waited for many results waits longer for the next.
        fresh = multiprocessing.get_context("spawn")
        ours, theirs = fresh.Pipe()
        client = fresh.Process(target=tasks.in_client, args=(theirs, *args))
        client.start()
        # So that the end of a client that failed is seen.
        theirs.close()
        answer = ours.recv()
        client.join()
        return answer


def python_sized(tasks):
    """The n at which sum_sqrt takes LONG_SECONDS."""
    n = 100_000
    return int(n * LONG_SECONDS / min(tasks.sum_sqrt(n)[1] for _ in range(20)))


def tiny_cases(tasks, pool, executor, mill, celery):
    """Name -> a call that returns results and seconds."""
    items, square = list(range(SQUARES)), tasks.square
    def gristmill(*options):
        results, _, taken = mill.map("square", items, *options)
        return results, taken
    return {
        "a loop, one process": lambda: timed(lambda: [square(n) for n in items]),
        "Pool.map": lambda: timed(lambda: pool.map(square, items)),
        "Pool.map, chunksize=1": lambda: timed(lambda: pool.map(square, items, chunksize=1)),
        "ProcessPoolExecutor.map, chunksize=1000": lambda: timed(lambda: list(executor.map(square, items, chunksize=1000))),
        "ProcessPoolExecutor.map": lambda: timed(lambda: list(executor.map(square, items))),
        "gristmill map": lambda: gristmill(),
        "gristmill map --chunk 1": lambda: gristmill("--chunk", "1"),
        "Celery, chunks of 1000": lambda: celery.run("chunks", "square", items, 1000),
        "Celery, chunks of 100": lambda: celery.run("chunks", "square", items, 100),
        "Celery, one message per task": lambda: celery.run("delay", "square", items),
    }


def long_cases(tasks, pool, executor, mill, celery):
    """Name -> a call that returns results, seconds of computing, and seconds."""
    items, sum_sqrt = [python_sized(tasks)] * LONG_TASKS, tasks.sum_sqrt
    mill_items = [mill.sized()] * LONG_TASKS
    def python(run):
        results, taken = run()
        return [value for value, _ in results], sum(computed for _, computed in results), taken
    return {
        "Pool.map": lambda: python(lambda: timed(lambda: pool.map(sum_sqrt, items))),
        "Pool.map, chunksize=1": lambda: python(lambda: timed(lambda: pool.map(sum_sqrt, items, chunksize=1))),
        "ProcessPoolExecutor.map": lambda: python(lambda: timed(lambda: list(executor.map(sum_sqrt, items)))),
        "gristmill map": lambda: mill.map("sum_sqrt", mill_items),
        "Celery, one message per task": lambda: python(lambda: celery.run("delay", "sum_sqrt", items)),
    }


def best(cases, rounds, seconds_of, check):
    """The best run of each case; all cases take turns."""
    runs = {}
    for _ in range(rounds):
        for name, call in cases.items():
            run = call()
            check(name, run[0])
            if name not in runs or seconds_of(run) < seconds_of(runs[name]):
                runs[name] = run
    return runs


def check_tiny(name, results):
    assert results == [n * n for n in range(SQUARES)], name


def check_long(name, results):
    assert len(results) == LONG_TASKS and len(set(results)) == 1, name


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with ExitStack() as stack:
        place = redis(stack)
        os.environ["PEERS_REDIS"] = f"redis+socket://{place}/s"
        # Not before the variable is set: it is read there.
        import tasks

        pool = stack.enter_context(multiprocessing.Pool(PROCESSES))
        executor = stack.enter_context(ProcessPoolExecutor(PROCESSES))
        peers = tasks, pool, executor, Gristmill(stack, place, args.bin.resolve()), Celery(stack)
        long = best(long_cases(*peers), args.rounds, lambda run: run[2], check_long)
        tiny = best(tiny_cases(*peers), args.rounds, lambda run: run[1], check_tiny)
    rows = report(tiny, long, args.rounds)
    if args.json:
        args.json.write_text(json.dumps({"cores": os.cpu_count(), "python": sys.version, "rows": rows}, indent=1) + "\n")


def report(tiny, long, rounds):
    rows = []
    print(f"{SQUARES} × square, {PROCESSES} processes, best of {rounds}")
    for name, (_, taken) in tiny.items():
        rows.append({"tasks": "square", "by": name, "seconds": taken, "per_second": SQUARES / taken})
        print(f"  {name:41} {taken:7.3f} s {SQUARES / taken:12,.0f} tasks/s {taken / SQUARES * 1e6:8.1f} µs each")
    print(f"{LONG_TASKS} × sum_sqrt, {PROCESSES} processes, best of {rounds}")
    for name, (_, computed, taken) in long.items():
        share = computed / PROCESSES / taken
        rows.append({"tasks": "sum_sqrt", "by": name, "seconds": taken, "computed": computed, "share": share})
        each = computed / LONG_TASKS * 1000
        print(f"  {name:41} {taken:7.3f} s for tasks of {each:4.1f} ms; the processes computed {share * 100:5.1f} % of it")
    return rows


if __name__ == "__main__":
    main()
