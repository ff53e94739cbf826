"""How an unexpected error ends the service.

In Go, where the crash comes from, a panic in any goroutine ends the whole process with status 2 and a trace. In
Python an exception in a thread would only end that thread, and so hide exhaustion until no thread is left; this
module therefore applies Go's rule.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback

from harness.reference.sockets import Sockets

STATUS = 2  # as the Go runtime exits after a panic
_once = threading.Lock()


def panic(error: BaseException, sockets: Sockets | None = None) -> None:
    """Write the error, its trace and the dangling sockets to stderr and end the process at once."""
    if not _once.acquire(blocking=False):
        # Another thread is already writing its report; its exit ends this thread as well.
        threading.Event().wait()
    sys.stderr.write(f"panic: {type(error).__name__}: {error}\n\n")
    sys.stderr.write(f"thread {threading.current_thread().name} [running]:\n")
    sys.stderr.write("".join(traceback.format_exception(error)))
    if sockets is not None:
        sockets.report()
    sys.stderr.write(f"exit status {STATUS}\n")
    sys.stderr.flush()
    os._exit(STATUS)
