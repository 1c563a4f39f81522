"""Forked processes: the threads of PyTorch do not survive a fork, and work handed to them would never end."""

import multiprocessing
import os
import sys

_SPAWNED = "--multiprocessing-fork"
"""Argument with which multiprocessing starts fresh interpreters, whatever its name says."""


def compute_in_one_thread() -> None:
    """Have PyTorch compute in the calling thread alone, if this process holds PyTorch."""
    set_num_threads = getattr(sys.modules.get("torch"), "set_num_threads", None)
    if set_num_threads is not None:  # a module that is still being imported has computed nothing
        set_num_threads(1)


def compute_in_one_thread_after_forks() -> None:
    """Call ``compute_in_one_thread`` in every process that is forked from this one; and here, if this is a fork.

    Where a worker of multiprocessing imports this package and its parent did not, PyTorch may have computed before.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=compute_in_one_thread)
    if multiprocessing.parent_process() is not None and _SPAWNED not in sys.orig_argv:
        compute_in_one_thread()
