"""`ledger apply`."""

import psycopg
from psycopg.errors import InsufficientPrivilege, UndefinedObject

from promo_assets.commands import console
from promo_assets.commands.console import CommandError, UserError
from promo_assets.commands.ledger_clean import first_line, told_in_one_line
from promo_assets.settings import load_settings
from promo_assets.stream.ledger.grants import grant_to, let_read_feedback
from promo_assets.stream.ledger.ledger import LEDGER_VERSION, apply_ddl


def apply_ledger(role: str | None, reader: str | None) -> None:
    settings = load_settings()
    url = settings.database_url
    with told_in_one_line(settings), psycopg.connect(url) as connection:
        database, owner = connection.info.dbname, connection.info.user
        try:
            apply_ddl(url)
            found = connection.execute("SELECT ledger_id FROM promo_ledger.stream").fetchone()
            if role is not None:
                grant_to(connection, role)
            if reader is not None:
                let_read_feedback(connection, reader)
        except InsufficientPrivilege as error:
            raise CommandError(
                f"role {owner} is not the owner of the tables ({first_line(error)}): PROMO_POSTGRES_URL must name the owner"
            ) from None
        except UndefinedObject as error:
            raise UserError(
                f"{first_line(error)}. Make it first, as docs/security.md shows"
            ) from None
    granted = f", and role {role} may do what the stream does" if role else ""
    granted += f", and role {reader} may read feedback" if reader else ""
    if found:
        print(found[0])
    console.info(
        f"the tables are there in database {database}, and the ledger is of version {LEDGER_VERSION}{granted}"
    )
