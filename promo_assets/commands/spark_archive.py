"""`spark-archive`: pack what tasks import into one file that Spark carries to its executors.

It serves clusters whose nodes have no image of this project, above all YARN. A node needs Python of
the same minor version; Spark brings pyspark's own Python files.

`venv-pack` does not serve: it packs a whole environment, so Dagster, pyspark and its jars too, does
not bring Python either, and had its last release in 2018.
"""

import sys
import tarfile
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path

from packaging.requirements import Requirement
from rich.console import Console
from rich.progress import Progress

from promo_assets.commands import console
from promo_assets.commands.console import CommandError, UserError, stderr

PROJECT = "promo_assets"
# What stream/pipeline/ingest.py and stream/pipeline/delivery.py import; pyspark needs pandas, too.
IMPORTED = ("psycopg[binary]", "confluent-kafka", "pyarrow", "pandas", "tenacity")
# A third of the bytes, and nothing that is imported at run time.
EXCLUDED = {"__pycache__", "tests", "include"}


def write_archive(target: Path) -> None:
    """Write a `.tar.gz` with the packages' files as they lie in `site-packages`.

    A former archive is replaced only when the new one is complete.
    """
    if not target.name.endswith((".tar.gz", ".tgz")):
        raise UserError(f"{target}: Spark only unpacks files named .tar.gz or .tgz")
    files = sorted(_list_files())
    new_archive = target.with_name(target.name + ".new")
    try:
        # Compressed quickly rather than well: the archive is carried only once per session.
        with (
            tarfile.open(new_archive, "w:gz", compresslevel=1) as archive,
            Progress(console=Console(file=stderr())) as progress,
        ):
            for name, source in progress.track(files, description="packing"):
                archive.add(source, name, recursive=False)
        new_archive.replace(target)
    except OSError as error:
        raise CommandError(f"Cannot write {target}: {error.strerror}") from None
    finally:
        new_archive.unlink(missing_ok=True)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    size = f"{target.stat().st_size / 2**20:,.0f} MiB"
    console.info(
        f"wrote {target}, {size}, for nodes with Python {python}: set PROMO_SPARK_ARCHIVE to it"
    )


def _list_files() -> Iterator[tuple[str, Path]]:
    """Yield (name in the archive, file)."""
    spec = util.find_spec(PROJECT)
    assert spec and spec.submodule_search_locations
    project = Path(spec.submodule_search_locations[0])
    for file in project.rglob("*"):
        name = file.relative_to(project.parent)
        if file.is_file() and _is_included(name):
            yield str(name), file
    for distribution in _find_distributions(IMPORTED):
        for name in distribution.files or ():
            if ".." in name.parts or not _is_included(Path(name)):
                continue
            file = Path(str(distribution.locate_file(name)))
            if file.is_file():
                yield str(name), file


def _is_included(name: Path) -> bool:
    return not EXCLUDED.intersection(name.parts)


def _find_distributions(names: tuple[str, ...]) -> list[metadata.Distribution]:
    """Return these distributions and all that they require, as they are installed here."""
    distributions: dict[str, metadata.Distribution] = {}
    seen: set[str] = set()
    open_requirements = [Requirement(name) for name in names]
    while open_requirements:
        requirement = open_requirements.pop()
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        distribution = metadata.distribution(requirement.name)
        distributions[requirement.name] = distribution
        for text in distribution.requires or ():
            needed, extras = Requirement(text), requirement.extras or {""}
            if needed.marker is None or any(
                needed.marker.evaluate({"extra": extra}) for extra in extras
            ):
                open_requirements.append(needed)
    return list(distributions.values())
