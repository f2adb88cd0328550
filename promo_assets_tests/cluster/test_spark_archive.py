"""The archive holds all that tasks import, and is only ever there as a whole."""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from promo_assets_tests.support.spark_clusters import SPARK_HOME

PROGRAM = str(Path(sys.executable).with_name("promo-assets"))


def pack(file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, "spark-archive", str(file)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_python_without_our_environment_runs_from_it(
    archive: Path, tmp_path: Path, bare_python: str
) -> None:
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    path = [str(tmp_path), *map(str, (SPARK_HOME / "python" / "lib").glob("*.zip"))]
    imports = (
        "import promo_assets.stream.pipeline.delivery, promo_assets.stream.pipeline.ingest, pyarrow, pandas; "
        "print(promo_assets.__file__, pandas.__file__)"
    )
    command = [bare_python, "-I", "-c", f"import sys; sys.path[:0] = {path!r}; {imports}"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert [Path(each).is_relative_to(tmp_path) for each in told.split()] == [True, True]


@pytest.mark.parametrize(
    ("name", "status", "problem"),
    [
        ("executors.zip", 2, "Spark unpacks what is named .tar.gz or .tgz"),
        ("missing/executors.tar.gz", 1, "could not be written: No such file or directory"),
    ],
)
def test_what_cannot_be_written_is_told_in_one_line(
    tmp_path: Path, name: str, status: int, problem: str
) -> None:
    done = pack(tmp_path / name)
    assert (done.returncode, done.stdout) == (status, "")
    assert (
        done.stderr.splitlines()[-1]
        == f"promo-assets: {tmp_path / name}{':' if status == 2 else ''} {problem}"
    )
    assert list(tmp_path.iterdir()) == []
