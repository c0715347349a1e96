"""The tasks in Python: plain functions for the pools, and the same as Celery tasks."""

import os
import time
from math import sqrt

from celery import Celery


def square(n):
    return n * n


def sum_sqrt(n):
    """The sum, and how long it took to compute it."""
    start = time.perf_counter()
    total = sum(sqrt(i) for i in range(n))
    return [total, time.perf_counter() - start]


def nap(seconds):
    time.sleep(seconds)


_url = os.environ.get("PEERS_REDIS", "redis+socket:///nowhere")
app = Celery("tasks", broker=_url, backend=_url)
# What Celery's guide to optimising recommends for many short tasks: a worker fetches far ahead. Events and
# rate limits are off, and no result outlives the run.
app.conf.update(
    worker_prefetch_multiplier=128,
    worker_disable_rate_limits=True,
    worker_send_task_events=False,
    result_expires=600,
    broker_connection_retry_on_startup=True,
)

if os.environ.get("PEERS_LATE"):
    # What Celery's documentation names for tasks that must survive their worker.
    app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True)
if os.environ.get("PEERS_PREFETCH"):
    app.conf.update(worker_prefetch_multiplier=int(os.environ["PEERS_PREFETCH"]))

celery_square = app.task(name="square")(square)
celery_sum_sqrt = app.task(name="sum_sqrt")(sum_sqrt)
celery_nap = app.task(name="nap")(nap)


def delay(task, items):
    """One message per task, as most programs call Celery."""
    return [result.get() for result in [task.delay(item) for item in items]]


def chunks(task, items, size):
    """Many tasks per message, as Celery recommends for short ones."""
    parts = task.chunks(zip(items), size).apply_async().get()
    return [result for part in parts for result in part]


def in_client(pipe, way, task, items, *options):
    """A client process of its own, connected before the clock runs; sends what a call returned, and its time."""
    task = {"square": celery_square, "sum_sqrt": celery_sum_sqrt}[task]
    way = {"delay": delay, "chunks": chunks}[way]
    task.delay(2).get(timeout=30)
    start = time.perf_counter()
    results = way(task, items, *options)
    pipe.send((results, time.perf_counter() - start))
