"""`down`: stop the local Kafka and Postgres, and the Dagster of a demo that was killed."""

from promo_assets.commands import console
from promo_assets.commands.dagster_dev import stop_dagster
from promo_assets.local import services
from promo_assets.settings import load_settings


def stop_services() -> None:
    settings = load_settings()
    if stop_dagster(settings):
        console.info("stopped the demo's Dagster")
    services.down(settings, console.info)
