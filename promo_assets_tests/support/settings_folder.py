"""A fixture for tests that load settings from the environment."""

from pathlib import Path

import pytest

from promo_assets.settings import Settings


@pytest.fixture(autouse=True)
def folder_without_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, and read only the `.env` of this folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Settings, "model_config", {**Settings.model_config, "env_file": ".env"})
