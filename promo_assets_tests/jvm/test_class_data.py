"""An archive of class data makes a JVM start sooner; one that does not fit is silently ignored."""

import subprocess
from pathlib import Path

import pytest

from promo_assets.jvm import class_data
from promo_assets.jvm.java import java_home
from promo_assets.local import class_data as maker


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(class_data, "FOLDER", tmp_path / "class-data")
    monkeypatch.setattr(class_data, "archive_options", class_data.archive_options.__wrapped__)
    return tmp_path / "class-data"


@pytest.fixture
def made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The reported lines. The makers write a word instead of a JVM's archive, and Kafka's fails."""

    def fail(file: Path, _: Path) -> None:
        file.write_text("half of it")
        raise subprocess.CalledProcessError(1, "java")

    monkeypatch.setattr(maker, "_make_spark", lambda file, _: file.write_text("archive"))
    monkeypatch.setattr(maker, "_make_kafka", fail)
    said: list[str] = []
    maker.make_archives(said.append)
    return said


def needs_base_archive() -> None:
    if class_data.find_archive("kafka") is None:
        pytest.skip("this Java has no archive of its own classes")


def test_without_archives_java_gets_no_options(folder: Path) -> None:
    assert class_data.archive_options("spark") == class_data.archive_options("kafka") == []


def test_an_archive_that_cannot_be_made_is_reported_and_leaves_no_file(
    made: list[str], folder: Path
) -> None:
    needs_base_archive()
    assert [file.read_text() for file in folder.iterdir()] == ["archive"]
    assert (
        class_data.archive_options("spark")[0] == f"-XX:SharedArchiveFile={next(folder.iterdir())}"
    )
    assert class_data.archive_options("kafka") == []
    assert "kafka" in made[-1]


def test_archives_are_made_once_and_again_for_other_jars(
    made: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_base_archive()
    (first,) = folder.iterdir()
    said: list[str] = []
    monkeypatch.setattr(maker, "_make_kafka", lambda file, _: file.write_text("archive"))
    maker.make_archives(said.append)
    assert len(said) == 1 and "kafka" in said[0]
    jars = folder.parent / "jars"
    jars.mkdir()
    (jars / "other.jar").write_text("")
    monkeypatch.setattr(class_data, "pyspark_jars", lambda: jars)
    maker.make_archives(said.append)
    assert len(said) == 2 and "spark" in said[1]
    assert not first.exists()


@pytest.mark.parametrize("content", [None, b"junk", b""], ids=["missing", "junk", "empty"])
def test_a_jvm_silently_ignores_an_unusable_archive(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "class.jsa"
    if content is not None:
        file.write_bytes(content)
    assert _ivy(*class_data.use_archive(file)) == _ivy()


def test_a_jvm_silently_ignores_an_archive_of_another_class_path(tmp_path: Path) -> None:
    needs_base_archive()
    file = tmp_path / "class.jsa"
    _ivy(f"-XX:ArchiveClassesAtExit={file}", first="slf4j-api")
    assert file.stat().st_size > 100_000
    assert _ivy(*class_data.use_archive(file)) == _ivy()


def _ivy(*options: str, first: str = "ivy") -> tuple[str, str]:
    """Both outputs of a small program."""
    jars = [
        str(next(class_data.pyspark_jars().glob(f"{name}-[0-9]*.jar")))
        for name in dict.fromkeys((first, "ivy"))
    ]
    command = [
        str(java_home() / "bin" / "java"),
        *options,
        "-cp",
        ":".join(jars),
        "org.apache.ivy.Main",
        "-version",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout, done.stderr
