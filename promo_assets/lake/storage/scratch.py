"""Where data are written before they are renamed into place: a folder per writing process, outside of the tables' folders.

Its name says who writes, so that the next write can tell what a killed process left behind from what is being written now.
"""

import os
import socket
import time
import uuid
from pathlib import Path

import psutil

# A process of another machine cannot be asked whether it lives; its folder is given up after this time without a change.
ABANDONED_AFTER_S = 24 * 3600


def new_name() -> str:
    """`machine~pid~creation time~random`, unique."""
    return "~".join((_machine(), str(os.getpid()), _created(os.getpid()), uuid.uuid4().hex[:8]))


def is_abandoned(name: str, changed_at: float) -> bool:
    """Whether nobody writes there any more; `changed_at` in unix seconds."""
    machine, _, rest = name.partition("~")
    pid, _, rest = rest.partition("~")
    created, _, _ = rest.partition("~")
    if machine == _machine() and pid.isdigit():
        return _created(int(pid)) != created
    return time.time() - changed_at > ABANDONED_AFTER_S


def _machine() -> str:
    """Containers of one machine may share its name, but not their process ids."""
    try:
        namespace = Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    except OSError:
        namespace = "0"
    return f"{socket.gethostname()}-{namespace}"


def _created(pid: int) -> str:
    try:
        return str(round(psutil.Process(pid).create_time() * 100))
    except psutil.Error:
        return ""
