"""The checkpoint's disk is full: the stream ends with one clear line, and nothing is lost."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from promo_assets_tests.support.expectation import campaign, problems
from promo_assets_tests.support.stream_process import StreamProcess
from promo_assets_tests.support.world import World

NOW = int(time.time())


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "full"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "promo-test", folder],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        with (
            pytest.raises(OSError, match="No space left"),
            (folder / "ballast").open("wb", buffering=0) as ballast,
        ):
            while True:
                ballast.write(b"x" * 4096)
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_ends_the_stream_with_one_line_and_the_next_run_delivers_everything(
    world: World, full_disk: Path
) -> None:
    world.favour([("c", "r")])
    due = campaign("r", "x", NOW - 100, NOW + 86_400)
    world.send(due, b"broken")
    stream = StreamProcess(world, "--until-caught-up", env={"PROMO_CHECKPOINT_DIR": str(full_disk)})
    try:
        assert stream.process.wait(90) == 1
        output = stream.tail().splitlines()
        messages = [line for line in output if line.startswith("promo-assets: ")]
        assert len(messages) == 1
        assert str(full_disk) in messages[0]
        assert "No space left on device" in messages[0]
        assert "Traceback" not in stream.tail()
    finally:
        stream.end()
    again = StreamProcess(world, "--until-caught-up")
    try:
        assert again.process.wait(90) == 0, again.tail()
    finally:
        again.end()
    assert problems(world, [due], [{("c", "r")}]) == []
    assert [letter.value() for letter in world.dead_letters()] == [b"broken"]
