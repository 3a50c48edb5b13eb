"""The fork server's process: imports once, then forks a child for each job it is sent.

It has one thread and opens nothing, so that a fork is safe and every child starts alike. What a
child does, it does after :func:`serve` has returned in it: with a stack, an ending and an exit
status of its own, as if it had been started with ``python``.
"""

from __future__ import annotations

import gc
import os
import selectors
import signal
import socket
import sys
import threading
import time
from contextlib import suppress

from ignition_ext.worker.job import Job, encode, receive
from ignition_ext.worker.preload import preload, rehearse, stamps


def main() -> None:
    """Run the fork server on the socket whose number is the first argument."""
    base_path = _base_path()
    channel = socket.socket(fileno=int(sys.argv[1]))
    began = time.time_ns()
    # Whoever stops the whole control group means the worker; the server ends when that has gone.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    gc.disable()
    failed = preload(sys.argv[2:])
    rehearse()
    loaded = stamps()
    ready = {
        "pid": os.getpid(),
        "failed": failed,
        "stamps": loaded,
        # A file that was replaced meanwhile may have been read before or after.
        "torn": any(changed > began for _, changed, _ in loaded),
        "threads": [thread.name for thread in threading.enumerate()][1:],
    }
    channel.sendall(encode(ready))
    gc.collect()
    gc.freeze()  # a child's collections leave these pages alone, so that they stay shared
    job = _Server(channel).serve()
    if job is None:
        os._exit(0)  # nothing of what the imports registered is the server's to end
    gc.enable()
    from ignition_ext.worker.child import run

    sys.exit(run(job, base_path))


def _base_path() -> list[str]:
    """``sys.path`` as an interpreter has it behind the working directory and PYTHONPATH."""
    named = {entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry}
    return [entry for entry in sys.path if entry not in named]


class _Server:
    """Forks, waits for what it forked, and says both to the worker."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._children: dict[int, int] = {}
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = os.pipe()

    def serve(self) -> Job | None:
        """Work until the worker has gone and every child has ended; in a child, return its job."""
        for end in (self._wake, self._waker):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(self._channel, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)
        listening = True
        while listening or self._children:
            for key, _ in self._selector.select():
                if key.fileobj is not self._channel:
                    self._reap()
                    continue
                message = receive(self._channel)
                if message is None:
                    self._selector.unregister(self._channel)
                    listening = False
                elif job := self._fork(message["number"], Job(**message["job"])):
                    return job
        return None

    def _fork(self, number: int, job: Job) -> Job | None:
        """Fork; returns the job in the child alone."""
        alone, led = os.pipe()
        try:
            pid = os.fork()
        except OSError as error:
            self._say({"number": number, "error": str(error)})
            pid = -1
        if pid == 0:
            self._become_child()
            os.write(led, b"1")
        elif pid > 0:
            os.close(led)
            led = -1
            os.read(alone, 1)  # until then a signal to its group would go astray
            self._children[pid] = number
            self._say({"number": number, "pid": pid})
        for end in (alone, led):
            if end >= 0:
                os.close(end)
        return job if pid == 0 else None

    def _become_child(self) -> None:
        """Let go of all that is the server's, and lead a group of its own."""
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._selector.close()
        self._channel.close()
        os.close(self._wake)
        os.close(self._waker)

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            while os.read(self._wake, 512):
                pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = self._children.pop(pid, None)
            if number is not None:
                self._say({"number": number, "status": os.waitstatus_to_exitcode(status)})

    def _say(self, message: dict[str, object]) -> None:
        with suppress(OSError):  # the worker has gone; its children are waited for all the same
            self._channel.sendall(encode(message))
