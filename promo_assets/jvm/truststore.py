"""Java's file of trusted certificates, made from the one that SSL_CERT_FILE names.

A company's own certificate authority is known to the system's Java, if at all, and never to the one from a wheel.
"""

import hashlib
import os
import ssl
import struct
from pathlib import Path

PASSWORD = "changeit"  # Java's customary one: it guards nothing, all that is stored is public


def trust_options(folder: Path) -> list[str]:
    """Java options that make it trust what `SSL_CERT_FILE` holds; none if that is not set."""
    named = os.environ.get("SSL_CERT_FILE")
    if not named or not Path(named).is_file():
        return []
    certificates = ssl.create_default_context(cafile=named).get_ca_certs(binary_form=True)
    store = folder / "trusted.jks"
    store.write_bytes(_key_store(certificates))
    return [
        f"-Djavax.net.ssl.trustStore={store}",
        "-Djavax.net.ssl.trustStoreType=JKS",
        f"-Djavax.net.ssl.trustStorePassword={PASSWORD}",
    ]


def _key_store(certificates: list[bytes]) -> bytes:
    """In the JKS format: magic, version 2, the entries, and a salted SHA-1 over all of it (`sun.security.provider.JavaKeyStore`)."""
    content = struct.pack(">III", 0xFEEDFEED, 2, len(certificates))
    for number, certificate in enumerate(certificates):
        content += struct.pack(">I", 2) + _text(f"certificate-{number}") + struct.pack(">Q", 0)
        content += _text("X.509") + struct.pack(">I", len(certificate)) + certificate
    return (
        content
        + hashlib.sha1(
            PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + content, usedforsecurity=False
        ).digest()
    )


def _text(value: str) -> bytes:
    return struct.pack(">H", len(value)) + value.encode()
