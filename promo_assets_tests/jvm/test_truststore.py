"""Java trusts the certificate authorities of the file in SSL_CERT_FILE."""

import subprocess
from pathlib import Path

import pytest

from promo_assets.jvm.java import java_home
from promo_assets.jvm.truststore import PASSWORD, trust_options
from promo_assets_tests.support.authority import Authority


def test_java_reads_every_certificate_of_the_file_from_the_key_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    keytool = java_home() / "bin" / "keytool"
    if not keytool.exists():
        pytest.skip(f"{keytool} does not exist: this Java comes from the wheel")
    authorities = [Authority(tmp_path, name).file.read_text() for name in ("one", "two")]
    (tmp_path / "both.pem").write_text("".join(authorities))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "both.pem"))
    store, kind, _ = (option.partition("=")[2] for option in trust_options(tmp_path))
    command = [keytool, "-list", "-keystore", store, "-storetype", kind, "-storepass", PASSWORD]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert listed.count("trustedCertEntry") == 2


def test_without_the_variable_java_keeps_its_own_trust_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    assert trust_options(tmp_path) == []
