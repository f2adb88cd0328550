"""Reads PEM files that hold the certificates of certificate authorities."""

import re
import ssl
from pathlib import Path


def read_certificates(file: Path) -> str:
    """Return the PEM certificates in a file and leave out everything else, such as private keys.

    Raises `ValueError` if the file cannot be read or holds no valid certificate.
    """
    try:
        text = file.read_text(errors="replace")
    except FileNotFoundError:
        raise ValueError(f"the file {file} does not exist") from None
    except OSError as error:
        raise ValueError(f"the file {file} cannot be read ({error.strerror})") from None
    block = "-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----"
    certificates = "\n".join(re.findall(block, text, re.DOTALL))
    try:
        ssl.create_default_context(cadata=certificates or "none")
    except (ssl.SSLError, ValueError):
        raise ValueError(f"the file {file} holds no valid PEM certificate") from None
    return certificates + "\n"
