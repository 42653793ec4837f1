"""``python -m deploy.local.child PARENT MODULE ARGUMENTS...`` runs a module that cannot outlive its parent.

However the parent ends, kill -9 included, the module ends with it: on Linux the kernel sees to it, elsewhere the
parent's end of standard input does. SIGKILL on purpose: what dies with kill -9 on one side must not tidy up on the
other, or a crash would be a crash of half the system only.
"""

import ctypes
import os
import runpy
import signal
import sys
import threading

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked to be told
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Thread(target=_watch_input, name="parent-watchdog", daemon=True).start()


def _watch_input() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    parent, module, *arguments = sys.argv[1:]
    # Ctrl-C reaches the whole group at once, but the parent decides in which order the parts stop.
    # Before any thread is there: a thread takes the mask of the one that starts it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    _die_with(int(parent))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
