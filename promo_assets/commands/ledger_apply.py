"""`ledger apply`: create or upgrade the stream's tables, and grant rights on them."""

import psycopg
from psycopg.errors import InsufficientPrivilege, UndefinedObject

from promo_assets.commands import console
from promo_assets.commands.console import CommandError, UserError
from promo_assets.commands.postgres_client import postgres_errors
from promo_assets.settings import load_settings
from promo_assets.stream.errors import first_line
from promo_assets.stream.ledger.grants import grant_feedback_select, grant_stream_privileges
from promo_assets.stream.ledger.schema import LEDGER_VERSION, apply_ddl


def apply_ledger(role: str | None, feedback_reader: str | None) -> None:
    settings = load_settings()
    url = settings.database_url
    with postgres_errors(settings), psycopg.connect(url) as connection:
        database, owner = connection.info.dbname, connection.info.user
        try:
            apply_ddl(url)
            row = connection.execute("SELECT ledger_id FROM promo_ledger.stream").fetchone()
            if role is not None:
                grant_stream_privileges(connection, role)
            if feedback_reader is not None:
                grant_feedback_select(connection, feedback_reader)
        except InsufficientPrivilege as error:
            raise CommandError(
                f"role {owner} is not the owner of the tables ({first_line(error)}): "
                "PROMO_POSTGRES_URL must name the owner"
            ) from None
        except UndefinedObject as error:
            raise UserError(
                f"{first_line(error)}. Create the role first, as docs/security.md shows"
            ) from None
    if row:
        print(row[0])
    granted = f", role {role} has the stream's rights" if role else ""
    granted += f", role {feedback_reader} can read feedback" if feedback_reader else ""
    console.info(
        f"the stream's tables exist in database {database}, "
        f"ledger version {LEDGER_VERSION}{granted}"
    )
