"""The code blocks of docs/, and a `docker` that runs their commands without containers."""

import re
from pathlib import Path

from promo_assets.settings import PROJECT_ROOT

# Runs the COMMAND of `docker compose exec [-T] SERVICE COMMAND` and of `docker compose run --rm
# SERVICE COMMAND` without a container.
DOCKER = """#!/bin/bash
case "$1 $2" in
"compose exec" | "compose run") shift 2 ;;
*) exit 64 ;;
esac
while [[ $1 == -* ]]; do shift; done
shift
exec "$@"
"""


def read_blocks(page: str, heading: str, language: str = "sh") -> list[str]:
    """Returns the code blocks below a heading of a page of docs/."""
    section = re.split(r"^## ", (PROJECT_ROOT / "docs" / page).read_text(), flags=re.MULTILINE)
    (text,) = [part for part in section if part.startswith(heading + "\n")]
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def install_fake_docker(folder: Path) -> Path:
    """Creates a folder for PATH with a `docker` that runs a container's command as a process, with
    the test's environment."""
    folder.mkdir()
    (folder / "docker").write_text(DOCKER)
    (folder / "docker").chmod(0o755)
    return folder
