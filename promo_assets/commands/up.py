"""`up`: start the local Kafka and Postgres, create topics and tables."""

from promo_assets.commands.addresses import print_addresses
from promo_assets.commands.console import spinner
from promo_assets.local import services
from promo_assets.settings import load_settings


def start_services() -> None:
    settings = load_settings()
    with spinner("starting Kafka and Postgres") as show_step:
        endpoints = services.up(settings, show_step)
    print_addresses(settings, endpoints.kafka, endpoints.postgres_url)
