"""What is left of a batch when processes are killed with SIGKILL. Run by benchmarks/peers/run killed.

First one computing process in the middle of a task, then, where there is one, the whole worker; each time
another worker is there, or starts, and everybody has WAIT seconds to finish. Settings are the defaults, and
for Celery also those that its documentation names for tasks that must not be lost.
"""

import argparse
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from pathlib import Path

from compare import PROCESSES, Gristmill, redis, wait

TASKS = 200
TASK_SECONDS = 0.05
# Half of the tasks are done by then.
BEFORE = TASKS * TASK_SECONDS / PROCESSES / 2
WAIT = 40


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kill(pids):
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def pool():
    with multiprocessing.Pool(PROCESSES) as pool:
        workers = [process.pid for process in multiprocessing.active_children()]
        results = pool.map_async(time.sleep, [TASK_SECONDS] * TASKS, chunksize=1)
        time.sleep(BEFORE)
        kill(workers[:1])
        try:
            return f"{len(results.get(WAIT))} of {TASKS}"
        except multiprocessing.TimeoutError:
            return f"no result: map does not return (waited {WAIT} s)"


def executor():
    with ProcessPoolExecutor(PROCESSES) as executor:
        futures = [executor.submit(time.sleep, TASK_SECONDS) for _ in range(TASKS)]
        time.sleep(BEFORE)
        kill(list(executor._processes)[:1])
        wait(lambda: all(future.done() for future in futures))
        failed = sum(isinstance(future.exception(), BrokenProcessPool) for future in futures)
        return f"{TASKS - failed} of {TASKS}; the others fail with BrokenProcessPool"


def celery(stack, whole, late):
    import tasks

    # 4 is the default of the prefetch multiplier.
    environment = os.environ | {"PEERS_PREFETCH": "4"} | ({"PEERS_LATE": "1"} if late else {})
    command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--pool", "prefork", "--concurrency",
               str(PROCESSES), "--loglevel", "CRITICAL", "--without-gossip", "--without-mingle"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

    def worker():
        process = subprocess.Popen(command, cwd=Path(__file__).parent, env=environment, **quiet)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        return process

    process = worker()
    tasks.celery_nap.delay(0).get(timeout=30)
    results = [tasks.celery_nap.delay(TASK_SECONDS) for _ in range(TASKS)]
    time.sleep(BEFORE)
    kill([process.pid, *children(process.pid)] if whole else children(process.pid)[:1])
    if whole:
        process.wait()
        process = worker()
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline and not all(result.ready() for result in results):
        time.sleep(0.2)
    done = sum(result.successful() for result in results)
    failed = sum(result.failed() for result in results)
    return f"{done} of {TASKS}; {failed} failed, {TASKS - done - failed} neither after {WAIT} s"


def gristmill(stack, place, binaries, whole):
    mill = Gristmill(stack, place, binaries)
    command = [mill.program, "map", "sleep", "--chunk", "1", "--summary=json"]
    client = subprocess.Popen(command, env=mill.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.DEVNULL)
    start = time.monotonic()
    client.stdin.write(f"{TASK_SECONDS}\n" * TASKS)
    client.stdin.close()
    time.sleep(BEFORE)
    # Its children are the agent and the consumers, in the order in which they were forked.
    kill([mill.worker.pid, *children(mill.worker.pid)] if whole else children(mill.worker.pid)[-1:])
    if whole:
        mill.worker.wait()
        mill = Gristmill(stack, place, binaries)
    done = client.stdout.read().count("null")
    client.wait()
    return f"{done} of {TASKS}, all after {time.monotonic() - start:.1f} s"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=Path, required=True)
    binaries = parser.parse_args().bin.resolve()
    print(f"{TASKS} tasks of {TASK_SECONDS * 1000:.0f} ms, {PROCESSES} processes; succeeded:")
    one, whole = "one process killed", "the whole worker killed, another started"
    print(f"  {'Pool.map':26} {one:41} {pool()}", flush=True)
    print(f"  {'ProcessPoolExecutor':26} {one:41} {executor()}", flush=True)
    for name, late in ("Celery", False), ("Celery, acks_late + reject", True):
        for what in one, whole:
            with ExitStack() as stack:
                os.environ["PEERS_REDIS"] = f"redis+socket://{redis(stack)}/s"
                fresh = multiprocessing.get_context("spawn")
                ours, theirs = fresh.Pipe()
                client = fresh.Process(target=in_client, args=(theirs, what == whole, late))
                client.start()
                theirs.close()
                print(f"  {name:26} {what:41} {ours.recv()}", flush=True)
                client.join()
    for what in one, whole:
        with ExitStack() as stack:
            place = redis(stack)
            print(f"  {'Gristmill':26} {what:41} {gristmill(stack, place, binaries, what == whole)}", flush=True)


def in_client(pipe, whole, late):
    """In a process of its own: the address of Redis is read once."""
    with ExitStack() as stack:
        pipe.send(celery(stack, whole, late))


if __name__ == "__main__":
    main()
