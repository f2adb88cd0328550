"""Names of scratch folders, in which data are written before they are renamed into place.

Each writing process has its own scratch folder, outside of the tables' folders. The name identifies
the process, so that the next writer can distinguish the leftovers of a killed process from data
that is being written now.
"""

import os
import socket
import time
import uuid
from pathlib import Path

import psutil

# It is unknown whether a process of another machine is alive, so its folder counts as abandoned
# after this time without a change.
ABANDONED_AFTER_S = 24 * 3600


def new_name() -> str:
    """Return a unique name: `machine~pid~creation time~random`."""
    pid = os.getpid()
    return "~".join((_machine(), str(pid), _creation_time(pid), uuid.uuid4().hex[:8]))


def is_abandoned(name: str, changed_at: float) -> bool:
    """Return whether the folder's process is gone; `changed_at` is in unix seconds."""
    machine, _, rest = name.partition("~")
    pid, _, rest = rest.partition("~")
    created, _, _ = rest.partition("~")
    if machine == _machine() and pid.isdigit():
        return _creation_time(int(pid)) != created
    return time.time() - changed_at > ABANDONED_AFTER_S


def _machine() -> str:
    """Return the host's name and its process namespace: containers may share the former only."""
    try:
        namespace = Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    except OSError:
        namespace = "0"
    return f"{socket.gethostname()}-{namespace}"


def _creation_time(pid: int) -> str:
    """Return when a process was created, in hundredths of a second; empty if it does not exist."""
    try:
        return str(round(psutil.Process(pid).create_time() * 100))
    except psutil.Error:
        return ""
