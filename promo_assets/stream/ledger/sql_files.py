"""The `.sql` files of this folder: the schema, the grants, and the statements that are long."""

from functools import cache
from importlib import resources


@cache
def read_sql(name: str) -> bytes:
    """The text of the file `name`.sql, which is read once, when it is first needed."""
    return resources.files("promo_assets.stream.ledger").joinpath(f"{name}.sql").read_bytes()
