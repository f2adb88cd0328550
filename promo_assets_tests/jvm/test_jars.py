from pathlib import Path

import pytest

from promo_assets.jvm import jars

# echo -n right | sha256sum
RIGHT = "27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9"


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A download of one jar, `right`, as the lock wants it, and one that nobody asked for."""
    (tmp_path / "jars.lock").write_text(f"{RIGHT}  kafka/one.jar\n{RIGHT}  hdfs/two.jar\n")
    monkeypatch.setattr(jars, "LOCK", tmp_path / "jars.lock")
    monkeypatch.setattr(jars, "JARS", tmp_path / "jars")
    (tmp_path / "jars").mkdir()

    def retrieve(target: Path, folders: list[str], _: object) -> None:
        for folder in folders:
            (target / folder).mkdir()
            (target / folder / {"kafka": "one.jar", "hdfs": "two.jar"}[folder]).write_text(
                (tmp_path / "content").read_text()
            )
            (target / folder / "unasked.jar").write_text("x")

    monkeypatch.setattr(jars, "_retrieve", retrieve)
    return tmp_path


def test_a_jar_with_another_checksum_is_refused_and_nothing_installed(fetched: Path):
    (fetched / "content").write_text("wrong")
    with pytest.raises(jars.SetupError, match=r"one\.jar is not the file that jars\.lock names"):
        jars.fetch_jars(print)
    assert list((fetched / "jars").iterdir()) == []
    with pytest.raises(jars.SetupError, match="make setup"):
        jars.kafka_classpath()


def test_only_locked_jars_are_installed_and_fetched_once(fetched: Path):
    (fetched / "content").write_text("right")
    said: list[str] = []
    jars.fetch_jars(said.append)
    assert [jar.name for jar in (fetched / "jars" / "kafka").iterdir()] == ["one.jar"]
    jars.fetch_jars(said.append)
    assert len(said) == 1


def test_a_changed_lock_replaces_the_folder(fetched: Path):
    old = fetched / "jars" / "kafka" / "old.jar"
    old.parent.mkdir()
    old.touch()
    (fetched / "content").write_text("right")
    jars.fetch_jars(print)
    assert [jar.name for jar in (fetched / "jars" / "kafka").iterdir()] == ["one.jar"]
    assert [folder.name for folder in (fetched / "jars").iterdir()] == ["kafka"]


def test_what_only_the_tests_need_is_fetched_when_asked_for(fetched: Path):
    (fetched / "content").write_text("right")
    jars.fetch_jars(print)
    with pytest.raises(jars.SetupError, match="the jars of hdfs are missing: run `make test`"):
        jars.hdfs_classpath()
    jars.fetch_jars(print, ["hdfs"])
    assert str(fetched / "jars" / "hdfs" / "two.jar") in jars.hdfs_classpath().split(":")
    assert sorted(folder.name for folder in (fetched / "jars").iterdir()) == ["hdfs", "kafka"]


def test_hdfs_is_of_the_release_of_pysparks_client():
    releases = {
        jar.stem.rsplit("-", 1)[1] for jar in jars._pyspark_jars().glob("hadoop-client-*.jar")
    }
    assert {
        name.removesuffix(".jar").rsplit("-", 1)[1] for name in jars._locked("hdfs")
    } == releases


def test_spark_gets_no_second_copy_of_what_pyspark_ships():
    shipped = {jar.name for jar in jars._pyspark_jars().iterdir()}
    assert not shipped & {jar.name for jar in jars.spark_jars()}
