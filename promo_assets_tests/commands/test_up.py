"""`up`: it prints the addresses as plain lines, which other programs read."""

from promo_assets_tests.conftest import Services
from promo_assets_tests.support.command_line import run


def test_up_and_status_print_plain_lines_without_an_outside_password(services: Services):
    user, _, rest = services.postgres_url.removeprefix("postgresql://").partition(":")
    without_password = f"postgresql://{user}@{rest.partition('@')[2]}"
    expected = f"kafka {services.kafka}\npostgres {without_password}\n".encode()
    assert run(services.env, "up").stdout == expected
    assert run(services.env, "status").stdout == expected
