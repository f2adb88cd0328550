"""The same lake on a real HDFS: only the root differs, and the rows are the same."""

from pathlib import Path

from pyspark.sql import SparkSession

from promo_assets.lake import tables
from promo_assets.lake.storage.files import Files
from promo_assets_tests.support.lake.hdfs import Hdfs
from promo_assets_tests.support.lake.lake_world import DAYS, LakeWorld


def test_initial_load_daily_run_and_rerun_give_the_same_rows_as_on_local_folders(
    spark: SparkSession, hdfs: Hdfs, tmp_path: Path
) -> None:
    local = LakeWorld(spark, tmp_path / "local")
    far = LakeWorld(spark, tmp_path / "far", root=f"{hdfs.uri}/lake")
    hadoop = Files(spark, hdfs.uri)
    for day in DAYS[:2]:
        written = local.write_raw(day)
        hadoop.write_bytes(
            written.read_bytes(), f"{far.lake.day_path(tables.RAW_EVENTS, day)}/{written.name}"
        )
    for world in (local, far):
        assert world.run("initial_load").success
        assert world.run("daily_lake", DAYS[1]).success
    expected = local.all_contents(DAYS[:2])
    assert {key[1] for key in expected} >= {"events", "users", "geo", "friend_recomendation"}
    assert far.all_contents(DAYS[:2]) == expected
    assert far.run("daily_lake", DAYS[1]).success
    assert far.all_contents(DAYS[:2]) == expected
    assert not hadoop.exists(f"{hdfs.uri}/lake/user/somebody/scratch")


def test_two_writers_of_a_day_never_mix_on_hdfs(spark: SparkSession, hdfs: Hdfs) -> None:
    """The second writer finds the first one's folder in place, and moves it away as a whole."""
    files = Files(spark, f"{hdfs.uri}/mix")
    for writer in ("a", "b"):
        files.write_bytes(b"x", f"{files.root}/{writer}/part-{writer}")
        files.replace(
            f"{files.root}/table/date=2022-05-01",
            f"{files.root}/{writer}",
            f"{files.root}/old-{writer}",
        )
    assert [name for name, _ in files.entries(f"{files.root}/table/date=2022-05-01")] == ["part-b"]
