"""Reads secrets from files: `PROMO_…_FILE` names a file that holds the value of `PROMO_…`.

Docker and Kubernetes mount secrets as such files.
"""

from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

SECRETS = ("kafka_password", "postgres_url", "feedback_postgres_url", "dagster_postgres_url")


class SettingsError(ValueError):
    """A setting has an unusable value.

    The message is one line; it names the setting and never shows a secret.
    """


class SecretFilesSource(PydanticBaseSettingsSource):
    """Wraps another source of settings and replaces names of secret files by the files' content."""

    def __init__(self, settings_cls: type[BaseSettings], source: PydanticBaseSettingsSource):
        super().__init__(settings_cls)
        self._source = source

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._source.get_field_value(field, field_name)

    def __call__(self) -> dict[str, Any]:
        values = dict(self._source())
        for name in SECRETS:
            setting = f"PROMO_{name.upper()}"
            file = values.pop(f"{name}_file", None)
            # The environment wins over `.env`, whether each names the secret or its file.
            if file is None or name in self.current_state:
                continue
            if values.get(name) is not None:
                raise SettingsError(f"{setting} and {setting}_FILE are both set: remove one")
            values[name] = _read_secret(f"{setting}_FILE", Path(file))
        return values


def _read_secret(setting: str, file: Path) -> str:
    """Return the file's text without the final end of line. Raises `SettingsError`."""
    try:
        secret = file.expanduser().read_text("utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise SettingsError(f"{setting}: cannot read {file} ({error.strerror})") from None
    except ValueError:
        raise SettingsError(f"{setting}: expected UTF-8 text in {file}") from None
    if not secret:
        raise SettingsError(f"{setting}: {file} is empty")
    return secret
