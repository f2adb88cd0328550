"""PEM files with the certificates of authorities."""

import re
import ssl
from pathlib import Path


def read_certificates(file: Path) -> str:
    """The PEM certificates of a file, without whatever else stands in it. Raises `ValueError` where there is none."""
    try:
        text = file.read_text(errors="replace")
    except FileNotFoundError:
        raise ValueError("no such file") from None
    except OSError as error:
        raise ValueError(f"the file cannot be read: {error.strerror}") from None
    found = "\n".join(
        re.findall("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", text, re.DOTALL)
    )
    try:
        ssl.create_default_context(cadata=found or "none")
    except (ssl.SSLError, ValueError):
        raise ValueError("the file holds no PEM certificate") from None
    return found + "\n"
