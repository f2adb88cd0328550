"""The services of the test session can be used by subprocesses too."""

import os
import subprocess
import sys

from promo_assets.settings import PROJECT_ROOT
from promo_assets_tests.conftest import Services

PRINT_ENDPOINTS = """
from promo_assets.settings import load_settings
settings = load_settings()
print(settings.bootstrap_servers, settings.database_url, settings.home)
"""


def test_a_subprocess_with_the_services_environment_uses_them(services: Services):
    done = subprocess.run(
        [sys.executable, "-c", PRINT_ENDPOINTS],
        env=os.environ | services.env,
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [services.kafka, services.postgres_url, str(services.home)]
    assert (services.settings.bootstrap_servers, services.settings.database_url) == (
        services.kafka,
        services.postgres_url,
    )
