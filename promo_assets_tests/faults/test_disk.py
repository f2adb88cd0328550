"""No room for the checkpoint: the stream says so in one line and ends; with room again, nothing is missing."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from promo_assets_tests.faults.test_kill import NOW
from promo_assets_tests.support.expectation import campaign, problems
from promo_assets_tests.support.stream_process import StreamProcess
from promo_assets_tests.support.world import World


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


def test_without_room_for_the_checkpoint_one_clear_line_and_nothing_lost(
    world: World, full_disk: Path
) -> None:
    world.favour([("c", "r")])
    due = campaign("r", "x", NOW - 100, NOW + 86_400)
    world.send(due, b"broken")
    stream = StreamProcess(world, "--until-caught-up", env={"PROMO_CHECKPOINT_DIR": str(full_disk)})
    try:
        assert stream.process.wait(90) == 1
        said = [line for line in stream.tail().splitlines() if line.startswith("promo-assets: ")]
        assert len(said) == 1
        assert "No space left on device" in said[0]
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
