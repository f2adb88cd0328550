"""Pages of docs/ as tests see them: their blocks of commands, and what stands for containers where a page speaks of them."""

import re
from pathlib import Path

from promo_assets.settings import PROJECT_ROOT

# `docker compose exec [-T] SERVICE COMMAND` and `docker compose run --rm SERVICE COMMAND`: the command, here.
DOCKER = """#!/bin/bash
case "$1 $2" in
"compose exec" | "compose run") shift 2 ;;
*) exit 64 ;;
esac
while [[ $1 == -* ]]; do shift; done
shift
exec "$@"
"""


def blocks(page: str, heading: str, language: str = "sh") -> list[str]:
    """What stands in the page of docs/ below a heading, block by block."""
    section = re.split(r"^## ", (PROJECT_ROOT / "docs" / page).read_text(), flags=re.MULTILINE)
    (text,) = [part for part in section if part.startswith(heading + "\n")]
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def commands_of_containers_here(folder: Path) -> Path:
    """A folder for PATH: what a page lets docker run in a container runs as a process with the test's environment."""
    folder.mkdir()
    (folder / "docker").write_text(DOCKER)
    (folder / "docker").chmod(0o755)
    return folder
