"""Secrets can be set directly or as files, and are never shown."""

from pathlib import Path

import pytest

from promo_assets.settings import SettingsError, load_settings
from promo_assets_tests.support.settings_folder import folder_without_env_file

__all__ = ["folder_without_env_file"]
SECRETS = {
    "PROMO_KAFKA_PASSWORD": "hidden",
    "PROMO_POSTGRES_URL": "postgresql://u:hidden@h/d",
    "PROMO_DAGSTER_POSTGRES_URL": "postgresql://u:hidden@h/dagster",
}


@pytest.fixture
def login_without_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SECURITY_PROTOCOL": "SASL_SSL",
        "SASL_MECHANISM": "PLAIN",
        "USERNAME": "u",
    }.items():
        monkeypatch.setenv(f"PROMO_KAFKA_{name}", value)


def read_secret(name: str) -> str | None:
    value = getattr(load_settings(), name.removeprefix("PROMO_").lower())
    return value and value.get_secret_value()


@pytest.mark.parametrize("end", ["", "\n", "\r\n"], ids=["no end", "newline", "CRLF"])
@pytest.mark.parametrize(("name", "secret"), SECRETS.items(), ids=SECRETS)
def test_a_secret_is_the_text_of_its_file_without_the_end_of_line(
    name: str,
    secret: str,
    end: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
):
    if name == "PROMO_KAFKA_PASSWORD":
        request.getfixturevalue("login_without_password")
    (tmp_path / "secret").write_bytes(f"{secret}{end}".encode())
    monkeypatch.setenv(f"{name}_FILE", str(tmp_path / "secret"))
    assert read_secret(name) == secret
    assert "hidden" not in repr(load_settings())


@pytest.mark.usefixtures("login_without_password")
def test_only_the_last_end_of_line_is_removed_from_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "secret").write_text(" p w \n\n")
    monkeypatch.setenv("PROMO_KAFKA_PASSWORD_FILE", "secret")  # a relative path
    assert read_secret("PROMO_KAFKA_PASSWORD") == " p w \n"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file or directory"),
        ("folder", "Is a directory"),
        (b"", "empty"),
        (b"\n", "empty"),
        (b"\xff\xfe", "UTF-8 text"),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_file_that_cannot_be_used_is_named_with_the_reason(
    name: str,
    content: bytes | str | None,
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    file = tmp_path / "secret"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content:
        file.mkdir()
    monkeypatch.setenv(f"{name}_FILE", str(file))
    with pytest.raises(SettingsError) as caught:
        load_settings()
    message = str(caught.value)
    assert message.startswith(f"{name}_FILE: ")
    assert str(file) in message
    assert problem in message
    assert "\n" not in message


@pytest.mark.parametrize(("name", "secret"), SECRETS.items(), ids=SECRETS)
def test_a_secret_that_is_set_twice_is_refused_and_not_shown(
    name: str, secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "secret").write_text(secret)
    monkeypatch.setenv(name, secret)
    monkeypatch.setenv(f"{name}_FILE", str(tmp_path / "secret"))
    with pytest.raises(SettingsError) as caught:
        load_settings()
    message = str(caught.value)
    assert message.startswith(f"{name} and {name}_FILE ")
    assert "both set" in message
    assert "hidden" not in message


@pytest.mark.parametrize(
    ("in_env_file", "in_environment"), [("", "_FILE"), ("_FILE", ""), ("_FILE", "_FILE")], ids=str
)
def test_the_environment_wins_whether_it_names_a_secret_or_its_file(
    in_env_file: str, in_environment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for which, where in (("theirs", in_env_file), ("ours", in_environment)):
        (tmp_path / which).write_text(f"postgresql://{which}@h/d")
        value = str(tmp_path / which) if where else f"postgresql://{which}@h/d"
        if which == "theirs":
            (tmp_path / ".env").write_text(f"PROMO_POSTGRES_URL{where}={value}\n")
        else:
            monkeypatch.setenv(f"PROMO_POSTGRES_URL{where}", value)
    assert read_secret("PROMO_POSTGRES_URL") == "postgresql://ours@h/d"


@pytest.mark.usefixtures("login_without_password")
def test_the_settings_repr_shows_no_secret(monkeypatch: pytest.MonkeyPatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    assert "hidden" not in repr(load_settings())
