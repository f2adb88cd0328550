"""The archive contains everything that tasks import, and is written completely or not at all."""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from promo_assets_tests.support.spark_clusters import SPARK_HOME

pytestmark = pytest.mark.slow

PROMO_ASSETS = str(Path(sys.executable).with_name("promo-assets"))


def pack_archive(file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROMO_ASSETS, "spark-archive", str(file)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_python_without_the_projects_packages_can_import_everything_from_it(
    archive: Path, tmp_path: Path, bare_python: str
) -> None:
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    path = [str(tmp_path), *map(str, (SPARK_HOME / "python" / "lib").glob("*.zip"))]
    imports = (
        "import promo_assets.stream.pipeline.delivery, promo_assets.stream.pipeline.ingest; "
        "import pandas, promo_assets, pyarrow; print(promo_assets.__file__, pandas.__file__)"
    )
    command = [bare_python, "-I", "-c", f"import sys; sys.path[:0] = {path!r}; {imports}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert [Path(file).is_relative_to(tmp_path) for file in done.stdout.split()] == [True, True]


@pytest.mark.parametrize(
    ("name", "status", "problem"),
    [
        ("executors.zip", 2, "named .tar.gz or .tgz"),
        ("missing/executors.tar.gz", 1, "No such file or directory"),
    ],
)
def test_an_archive_that_cannot_be_written_is_reported_in_one_line(
    tmp_path: Path, name: str, status: int, problem: str
) -> None:
    done = pack_archive(tmp_path / name)
    assert (done.returncode, done.stdout) == (status, "")
    line = done.stderr.splitlines()[-1]
    assert line.startswith("promo-assets: ") and str(tmp_path / name) in line
    assert line.endswith(problem)
    assert list(tmp_path.iterdir()) == []
