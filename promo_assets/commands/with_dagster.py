"""`with-dagster`: run a program on the project's Dagster instance.

Other commands use the instance's folder and environment, too.
"""

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
from promo_assets.stream.errors import first_line

CONFIG = PROJECT_ROOT / "deploy" / "dagster.yaml"
CONNECT_TIMEOUT_S = 10


def run_with_dagster(command: list[str]) -> None:
    """Replace this process by the program, so that signals and the exit status are its own."""
    settings = load_settings()
    environment = os.environ | dagster_environment(settings)
    # Prefer this project's programs, even if its virtual environment is not activated.
    programs = [str(Path(sys.prefix, "bin")), environment.get("PATH", os.defpath)]
    environment["PATH"] = os.pathsep.join(programs)
    if shutil.which(command[0], path=environment["PATH"]) is None:
        raise UserError(f"There is no program {command[0]} on the PATH")
    os.execvpe(command[0], command, environment)


def dagster_environment(settings: Settings) -> dict[str, str]:
    """Return the variables that a program on the instance needs, with the database's password.

    The database is ready when this returns: on the local server it is created if it is missing.
    """
    _check_database(settings)
    return {
        "DAGSTER_HOME": str(_prepare_home(settings)),
        "DAGSTER_POSTGRES_URL": sqlalchemy_url(settings.dagster_database_url),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
    }


def dagster_home(settings: Settings) -> Path:
    return settings.home / "dagster"


def _prepare_home(settings: Settings) -> Path:
    """Link the project's configuration into the folder, unless the user has put a file there."""
    home = dagster_home(settings)
    config = home / "dagster.yaml"
    if config.is_file() and (not config.is_symlink() or config.samefile(CONFIG)):
        return home
    home.mkdir(parents=True, exist_ok=True)
    new_link = home / f"dagster.yaml.{os.urandom(4).hex()}"
    new_link.symlink_to(CONFIG)
    new_link.replace(config)
    return home


def _check_database(settings: Settings) -> None:
    if settings.local_dagster:
        postgres = LocalPostgres(settings.home)
        running_postgres = running(postgres.record)
        if running_postgres is None:
            raise CommandError(
                "The local Postgres, which keeps Dagster's history, is not running. "
                "Start it with `promo-assets up`"
            )
        postgres.wait(running_postgres[1].port)
        return
    url = settings.dagster_database_url
    try:
        psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S).close()
    except psycopg.Error as error:
        parts = conninfo_to_dict(url)
        raise CommandError(
            f"Cannot connect to Dagster's database {parts['dbname']} on {parts.get('host')} "
            f"(PROMO_DAGSTER_POSTGRES_URL), which must exist: {first_line(error)}"
        ) from None


def sqlalchemy_url(url: str) -> str:
    """Turn a libpq URL into one for Dagster's storage, with the driver's name.

    Without the name the driver would be SQLAlchemy's choice, which depends on its version.
    """
    from sqlalchemy import URL

    parts = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    login = {
        "username": parts.pop("user", None),
        "password": parts.pop("password", None),
        "database": parts.pop("dbname"),
    }
    if "," not in parts.get("host", ""):  # several servers keep libpq's form
        login |= {"host": parts.pop("host", None), "port": int(parts.pop("port", "5432"))}
    full_url = URL.create("postgresql+psycopg2", **login, query=parts)
    return full_url.render_as_string(hide_password=False)
