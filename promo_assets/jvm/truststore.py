"""Makes Java trust the certificate authorities in the file that `SSL_CERT_FILE` names.

A company's own certificate authority may be known to the system's Java, and never to the Java from
a wheel.

The key store is written here, in the JKS format, because nothing shorter works on every machine.
`keytool -importcert` imports only the first certificate of a PEM file, so a system's 140
certificates would take 140 starts of a JVM. Java reads no key store of type PEM. Python's standard
library cannot write PKCS12, `cryptography` is a dependency of the tests only, and `openssl` needs
version 3.2 to mark certificates so that Java trusts them.
"""

import hashlib
import os
import ssl
import struct
from pathlib import Path

# Java's default password. It protects nothing, because everything in the store is public.
PASSWORD = "changeit"
MAGIC, VERSION, TRUSTED_CERTIFICATE = 0xFEEDFEED, 2, 2
DIGEST_SALT = b"Mighty Aphrodite"


def trust_options(folder: Path) -> list[str]:
    """Return the Java options that add trust in the certificates of `SSL_CERT_FILE`.

    Writes the key store to `folder`. Returns no options if the variable names no file.
    """
    pem_file = os.environ.get("SSL_CERT_FILE")
    if not pem_file or not Path(pem_file).is_file():
        return []
    certificates = ssl.create_default_context(cafile=pem_file).get_ca_certs(binary_form=True)
    store = folder / "trusted.jks"
    store.write_bytes(_encode_key_store(certificates))
    return [
        f"-Djavax.net.ssl.trustStore={store}",
        "-Djavax.net.ssl.trustStoreType=JKS",
        f"-Djavax.net.ssl.trustStorePassword={PASSWORD}",
    ]


def _encode_key_store(certificates: list[bytes]) -> bytes:
    """Return a JKS key store of DER certificates, as `sun.security.provider.JavaKeyStore` reads it.

    It consists of a magic number, the version, the entries, and a salted SHA-1 of all of these.
    """
    content = struct.pack(">III", MAGIC, VERSION, len(certificates))
    for number, certificate in enumerate(certificates):
        content += struct.pack(">I", TRUSTED_CERTIFICATE) + _encode_text(f"certificate-{number}")
        content += struct.pack(">Q", 0)  # created at, in milliseconds since 1970
        content += _encode_text("X.509") + struct.pack(">I", len(certificate)) + certificate
    salted = PASSWORD.encode("utf-16-be") + DIGEST_SALT + content
    return content + hashlib.sha1(salted, usedforsecurity=False).digest()


def _encode_text(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode()
