"""`ledger apply`."""

import psycopg
from psycopg.errors import InsufficientPrivilege, UndefinedObject

from promo_assets.commands.talk import CommandError, UserError, say
from promo_assets.settings import load_settings
from promo_assets.stream.grants import grant_to
from promo_assets.stream.ledger import LEDGER_VERSION, apply_ddl


def apply_ledger(role: str | None) -> None:
    url = load_settings().database_url
    try:
        with psycopg.connect(url) as connection:
            database, owner = connection.info.dbname, connection.info.user
            try:
                apply_ddl(url)
                if role is not None:
                    grant_to(connection, role)
            except InsufficientPrivilege as error:
                raise CommandError(
                    f"role {owner} is not the owner of the tables ({_first_line(error)}): PROMO_POSTGRES_URL must name the owner"
                ) from None
            except UndefinedObject as error:
                raise UserError(f"--grant-to {role}: {_first_line(error)}. Make it first: CREATE ROLE … LOGIN PASSWORD …") from None
    except psycopg.OperationalError as error:
        raise CommandError(f"Postgres gave no connection: {_first_line(error)}") from None
    except psycopg.Error as error:
        raise CommandError(f"Postgres refused: {_first_line(error)}") from None
    granted = f", and role {role} may do what the stream does" if role else ""
    say(f"the tables are there in database {database}, and the ledger is of version {LEDGER_VERSION}{granted}")


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().splitlines()[0]
