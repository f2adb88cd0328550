"""`up` works for an ordinary user, also when the user runs it twice at once."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from promo_assets.settings import PROJECT_ROOT
from promo_assets_tests.support.local_services import find_pids

ORDINARY_USER = """
import sys
from pathlib import Path
sys.prefix = sys.argv[1]
sys.path[:0] = sys.argv[3:]
from promo_assets.local import services
from promo_assets.settings import Settings
settings = Settings(home=Path(sys.argv[2]), _env_file=None)
print(services.up(settings, lambda line: None).kafka, flush=True)
sys.stdin.readline()
services.down(settings, lambda line: None)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="all tests run as an ordinary user already")
def test_two_ups_of_an_ordinary_user_at_once_start_one_pair_of_services():
    nobody = pwd.getpwnam("nobody")
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    pythons = [sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"]
    try_checkout = f"import sys, os; sys.exit(not os.access({str(PROJECT_ROOT)!r}, os.X_OK))"
    usable = [python for python in pythons if _succeeds_as(nobody, python, try_checkout)]
    if not usable:
        pytest.skip(f"The user nobody cannot run {version}, or cannot read the checkout")
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    paths = [str(PROJECT_ROOT), *(part for part in sys.path if part.endswith("site-packages"))]
    command = [usable[0], "-c", ORDINARY_USER, sys.prefix, str(folder / "home"), *paths]
    started = [
        subprocess.Popen(
            command,
            user=nobody.pw_uid,
            group=nobody.pw_gid,
            extra_groups=[],
            cwd="/",
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    try:
        answers = [each.stdout.readline().strip() for each in started if each.stdout]
        assert answers[0].startswith("127.0.0.1:")
        assert answers[0] == answers[1]
        owners = {
            psutil.Process(pid).username()
            for pid in find_pids(folder)
            if pid not in {each.pid for each in started}
        }
        assert owners == {"nobody"}
    finally:
        for each in started:
            each.communicate("\n", timeout=60)
        left = find_pids(folder)
        shutil.rmtree(folder)
    assert left == []


def _succeeds_as(user: pwd.struct_passwd, python: str, code: str) -> bool:
    try:
        done = subprocess.run(
            [python, "-c", code],
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            check=False,
        )
        return done.returncode == 0
    except OSError:
        return False
