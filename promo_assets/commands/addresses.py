"""Where Kafka and Postgres are, as `up` and `status` print it: other programs read these lines."""

from promo_assets.postgres_url import without_password
from promo_assets.settings import Settings


def print_addresses(settings: Settings, kafka: str | None, postgres_url: str | None) -> None:
    """Print `kafka HOST:PORT` and `postgres URL`; None is a service that is not running."""
    if kafka:
        print(f"kafka {kafka}")
    if postgres_url:
        print(f"postgres {printable_url(settings, postgres_url)}")


def printable_url(settings: Settings, postgres_url: str) -> str:
    """Remove the password, except for the local Postgres, whose owner is the user."""
    return postgres_url if settings.local_postgres else without_password(postgres_url)
