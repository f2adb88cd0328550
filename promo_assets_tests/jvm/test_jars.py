"""Only jars with the locked checksums are installed, each folder as a whole."""

from pathlib import Path

import pytest

from promo_assets.jvm import jars

# The output of `echo -n right | sha256sum`.
RIGHT = "27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9"


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose file `content` is downloaded as each locked jar, along with another jar."""
    (tmp_path / "jars.lock").write_text(f"{RIGHT}  kafka/one.jar\n{RIGHT}  hdfs/two.jar\n")
    monkeypatch.setattr(jars, "LOCK", tmp_path / "jars.lock")
    monkeypatch.setattr(jars, "JARS", tmp_path / "jars")
    (tmp_path / "jars").mkdir()

    def download(_ivy: Path, target: Path, folders: list[str], _progress: object) -> None:
        for folder in folders:
            (target / folder).mkdir()
            jar = {"kafka": "one.jar", "hdfs": "two.jar"}[folder]
            (target / folder / jar).write_text((tmp_path / "content").read_text())
            (target / folder / "not-locked.jar").write_text("x")

    monkeypatch.setattr(jars, "download_jars", download)
    return tmp_path


def test_a_jar_with_another_checksum_is_refused_and_nothing_is_installed(downloads: Path):
    (downloads / "content").write_text("wrong")
    with pytest.raises(jars.SetupError, match=r"one\.jar differs from jars\.lock"):
        jars.fetch_jars(print)
    assert list((downloads / "jars").iterdir()) == []
    with pytest.raises(jars.SetupError, match="make setup"):
        jars.kafka_classpath()


def test_only_locked_jars_are_installed_and_they_are_downloaded_once(downloads: Path):
    (downloads / "content").write_text("right")
    progress: list[str] = []
    jars.fetch_jars(progress.append)
    assert [jar.name for jar in (downloads / "jars" / "kafka").iterdir()] == ["one.jar"]
    jars.fetch_jars(progress.append)
    assert len(progress) == 1


def test_a_changed_lock_replaces_the_folder(downloads: Path):
    old = downloads / "jars" / "kafka" / "old.jar"
    old.parent.mkdir()
    old.touch()
    (downloads / "content").write_text("right")
    jars.fetch_jars(print)
    assert [jar.name for jar in (downloads / "jars" / "kafka").iterdir()] == ["one.jar"]
    assert [folder.name for folder in (downloads / "jars").iterdir()] == ["kafka"]


def test_jars_that_only_tests_need_are_installed_on_request(downloads: Path):
    (downloads / "content").write_text("right")
    jars.fetch_jars(print)
    with pytest.raises(jars.SetupError, match=r"hdfs.*`make test`"):
        jars.hdfs_classpath()
    jars.fetch_jars(print, ["hdfs"])
    assert str(downloads / "jars" / "hdfs" / "two.jar") in jars.hdfs_classpath().split(":")
    assert sorted(folder.name for folder in (downloads / "jars").iterdir()) == ["hdfs", "kafka"]


def test_hdfs_has_the_release_of_pysparks_hadoop_client():
    releases = {
        jar.stem.rsplit("-", 1)[1] for jar in jars.pyspark_jars().glob("hadoop-client-*.jar")
    }
    assert {
        name.removesuffix(".jar").rsplit("-", 1)[1] for name in jars._read_lock("hdfs")
    } == releases


def test_no_jar_of_pyspark_is_installed_a_second_time():
    shipped = {jar.name for jar in jars.pyspark_jars().iterdir()}
    assert not shipped & {jar.name for jar in jars.spark_jars()}
