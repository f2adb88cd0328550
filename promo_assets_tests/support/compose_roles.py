"""Creates the roles of docker-compose.yml in a world, with the script of the deployment."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from promo_assets.settings import PROJECT_ROOT
from promo_assets_tests.support.compose import POSTGRES_PROGRAMS
from promo_assets_tests.support.world import World

ROLES = ("promo_stream", "promo_lake", "dagster")


@contextmanager
def create_roles(world: World, passwords: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Run deploy/postgres/roles.sh; yields the URLs that are secrets of docker-compose.yml.

    `passwords` has the passwords of ROLES, in this order, by the names of their secrets.
    """
    folder = world.home / "role-passwords"
    folder.mkdir()
    for name, password in passwords.items():
        (folder / name).write_text(password)
    owner = urlsplit(world.postgres_url)
    environment = {
        "PATH": f"{POSTGRES_PROGRAMS}{os.pathsep}/usr/bin{os.pathsep}/bin",
        "SECRETS": str(folder),
        "POSTGRES_USER": "promo",
        "POSTGRES_DB": "promo",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(owner.port),
        "PGPASSWORD": str(owner.password),
    }
    world.execute("DROP DATABASE IF EXISTS dagster")  # the local server has one already
    script = PROJECT_ROOT / "deploy" / "postgres" / "roles.sh"
    subprocess.run([script], env=environment, check=True, timeout=60)
    stream, lake, dagster = (
        f"postgresql://{role}:{password}@127.0.0.1:{owner.port}"
        for role, password in zip(ROLES, passwords.values(), strict=True)
    )
    try:
        yield {
            "owner_url": world.postgres_url,
            "stream_url": f"{stream}{owner.path}",
            "lake_url": f"{lake}{owner.path}",
            "dagster_url": f"{dagster}/dagster",
        }
    finally:
        world.execute("DROP OWNED BY promo_stream, promo_lake")
        world.execute("DROP DATABASE IF EXISTS dagster WITH (FORCE)")
        world.execute("DROP ROLE IF EXISTS promo_stream, promo_lake, dagster")
        world.execute("CREATE DATABASE dagster")  # the local server's own, for the tests after
