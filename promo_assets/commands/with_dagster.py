"""The project's Dagster instance: its folder, its database, and the environment that leads Dagster's programs to them."""

import os
import shutil
import sys
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from promo_assets.commands.console import CommandError, UserError
from promo_assets.local.postgres import LocalPostgres
from promo_assets.local.processes import running
from promo_assets.settings import PROJECT_ROOT, Settings, load_settings

CONFIG = PROJECT_ROOT / "deploy" / "dagster.yaml"
CONNECT_TIMEOUT_S = 10


def run_with_dagster(command: list[str]) -> None:
    """Becomes the program, so that signals and its exit status are its own; returns only by raising."""
    settings = load_settings()
    environment = os.environ | dagster_environment(settings)
    # This project's programs before others of the same name, also where its environment is not activated.
    environment["PATH"] = (
        f"{Path(sys.prefix, 'bin')}{os.pathsep}{environment.get('PATH', os.defpath)}"
    )
    if shutil.which(command[0], path=environment["PATH"]) is None:
        raise UserError(f"there is no program {command[0]} to run")
    os.execvpe(command[0], command, environment)


def dagster_environment(settings: Settings) -> dict[str, str]:
    """What must be in the environment of whatever uses the instance; it holds the database's password.

    The database can be used when this returns: on the local server it is made where it is missing.
    """
    _find_database(settings)
    return {
        "DAGSTER_HOME": str(_prepare_home(settings)),
        "DAGSTER_POSTGRES_URL": sqlalchemy_url(settings.dagster_database_url),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
    }


def dagster_home(settings: Settings) -> Path:
    return settings.home / "dagster"


def _prepare_home(settings: Settings) -> Path:
    """A link to our configuration lies there; a file that somebody put in its place stays."""
    home = dagster_home(settings)
    config = home / "dagster.yaml"
    if config.is_file() and (not config.is_symlink() or config.samefile(CONFIG)):
        return home
    home.mkdir(parents=True, exist_ok=True)
    fresh = home / f"dagster.yaml.{os.urandom(4).hex()}"
    fresh.symlink_to(CONFIG)
    fresh.replace(config)
    return home


def _find_database(settings: Settings) -> None:
    if settings.local_dagster:
        postgres = LocalPostgres(settings.home)
        found = running(postgres.record)
        if found is None:
            raise CommandError(
                "Dagster keeps its history in the local Postgres, which does not run: `promo-assets up` starts it"
            )
        postgres.wait(found[1].port)
        return
    parts = conninfo_to_dict(settings.dagster_database_url)
    try:
        psycopg.connect(settings.dagster_database_url, connect_timeout=CONNECT_TIMEOUT_S).close()
    except psycopg.Error as error:
        why = str(error).strip().splitlines()[0]
        where = f"database {parts['dbname']} on {parts.get('host')}"
        raise CommandError(
            f"Dagster's {where} (PROMO_DAGSTER_POSTGRES_URL) must exist and gave no connection: {why}"
        ) from None


def sqlalchemy_url(url: str) -> str:
    """A libpq URL as Dagster's storage needs it: with the driver named, since SQLAlchemy's own choice changes with its version."""
    from sqlalchemy import URL

    parts = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    login = {
        "username": parts.pop("user", None),
        "password": parts.pop("password", None),
        "database": parts.pop("dbname"),
    }
    if "," not in parts.get("host", ""):  # several servers stay in libpq's own form
        login |= {"host": parts.pop("host", None), "port": int(parts.pop("port", "5432"))}
    return URL.create("postgresql+psycopg2", **login, query=parts).render_as_string(
        hide_password=False
    )
