"""`spark-archive`: what tasks import, in one file that Spark carries to its executors.

For clusters whose nodes have no image of ours, YARN's above all. A node needs Python of the same minor version; pyspark's own
Python files are Spark's to bring.
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

OURS = "promo_assets"
# What stream/pipeline/ingest.py and stream/pipeline/delivery.py import; pandas is what pyspark wants beside them.
IMPORTED = ("psycopg[binary]", "confluent-kafka", "pyarrow", "pandas", "tenacity")
# A third of the bytes, and nothing that is imported at run time.
LEFT_OUT = {"__pycache__", "tests", "include"}


def write_archive(target: Path) -> None:
    """A `.tar.gz` of the packages, each file beside the others as in `site-packages`; replaces what was there as a whole."""
    if not target.name.endswith((".tar.gz", ".tgz")):
        raise UserError(f"{target}: Spark unpacks what is named .tar.gz or .tgz")
    files = sorted(_files())
    fresh = target.with_name(target.name + ".new")
    try:
        # Its size hardly matters beside the time: it is carried once a session.
        with (
            tarfile.open(fresh, "w:gz", compresslevel=1) as archive,
            Progress(console=Console(file=stderr())) as progress,
        ):
            for name, source in progress.track(files, description="packing"):
                archive.add(source, name, recursive=False)
        fresh.replace(target)
    except OSError as error:
        raise CommandError(f"{target} could not be written: {error.strerror}") from None
    finally:
        fresh.unlink(missing_ok=True)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    console.info(
        f"{target} has {target.stat().st_size / 2**20:,.0f} MiB, for nodes with Python {python}: name it with PROMO_SPARK_ARCHIVE"
    )


def _files() -> Iterator[tuple[str, Path]]:
    """(name in the archive, file)."""
    spec = util.find_spec(OURS)
    assert spec and spec.submodule_search_locations
    ours = Path(spec.submodule_search_locations[0])
    for file in ours.rglob("*"):
        if file.is_file() and _is_wanted(name := file.relative_to(ours.parent)):
            yield str(name), file
    for distribution in _distributions(IMPORTED):
        for name in distribution.files or ():
            if (
                ".." not in name.parts
                and _is_wanted(Path(name))
                and (file := Path(str(distribution.locate_file(name)))).is_file()
            ):
                yield str(name), file


def _is_wanted(name: Path) -> bool:
    return not LEFT_OUT.intersection(name.parts)


def _distributions(wanted: tuple[str, ...]) -> list[metadata.Distribution]:
    """These and all they need, as they are installed here."""
    found: dict[str, metadata.Distribution] = {}
    open_ones = [Requirement(each) for each in wanted]
    seen = set()
    while open_ones:
        requirement = open_ones.pop()
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        distribution = found[requirement.name] = metadata.distribution(requirement.name)
        for needed in map(Requirement, distribution.requires or ()):
            extras = requirement.extras or {""}
            if needed.marker is None or any(
                needed.marker.evaluate({"extra": extra}) for extra in extras
            ):
                open_ones.append(needed)
    return list(found.values())
