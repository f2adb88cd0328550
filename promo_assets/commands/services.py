"""`up`, `down`, `status`."""

import json
import sys
from dataclasses import asdict

from promo_assets.commands.dagster_dev import stop_leftover
from promo_assets.commands.state import read_state, told_state
from promo_assets.commands.talk import CommandError, say, working
from promo_assets.local import services
from promo_assets.settings import Settings, load_settings


def start_services() -> None:
    settings = load_settings()
    with working("starting Kafka and Postgres") as tell:
        endpoints = services.up(settings, tell)
    _print(settings, endpoints.kafka, endpoints.postgres_url)


def stop_services() -> None:
    settings = load_settings()
    if stop_leftover(settings):
        say("stopped the Dagster that a killed demo had left")
    services.down(settings, say)


def print_status(as_json: bool) -> None:
    settings = load_settings()
    found = services.status(settings)
    postgres_url = found.postgres_url and shown_url(settings, found.postgres_url)
    state = read_state(settings, found)
    if as_json:
        addresses = {"kafka": {"address": found.kafka}, "postgres": {"url": postgres_url}}
        print(json.dumps({name: addresses.get(name, {}) | part for name, part in asdict(state).items()}))
    else:
        _print(settings, found.kafka, found.postgres_url)
        sys.stdout.flush()
        for line in told_state(state) if found.kafka and found.postgres_url else ():
            say(line)
    missing = [name for name, where in (("Kafka", found.kafka), ("Postgres", found.postgres_url)) if where is None]
    if missing:
        verb = "do" if missing[1:] else "does"
        raise CommandError(f"the local {' and '.join(missing)} {verb} not run: `promo-assets up` starts what is missing")


def _print(settings: Settings, kafka: str | None, postgres_url: str | None) -> None:
    if kafka:
        print(f"kafka {kafka}")
    if postgres_url:
        print(f"postgres {shown_url(settings, postgres_url)}")


def shown_url(settings: Settings, postgres_url: str) -> str:
    return postgres_url if settings.local_postgres else without_password(postgres_url)


def without_password(url: str) -> str:
    """An outside database's password is not ours to show."""
    from urllib.parse import parse_qsl, urlencode, urlsplit

    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name != "password"])
    return parts._replace(netloc=user.partition(":")[0] + at + host, query=query).geturl()
