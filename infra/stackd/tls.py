"""A certificate for localhost from a small authority of the stack's own, made once. Clients trust D/tls/ca.pem and nothing else of it."""

import pathlib
import subprocess
import tempfile

from .say import Problem, say

CONFIGURATION = """
[req]
distinguished_name = name
prompt = no
[name]
O = Xerotier development
CN = {name}
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = DNS:localhost, DNS:*.localhost, IP:127.0.0.1, IP:::1
"""


def openssl(*arguments: object) -> None:
    try:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise Problem("openssl is missing: run infra/setup") from None
    except subprocess.CalledProcessError as error:
        raise Problem(f"openssl {arguments[0]} failed: {error.stderr.strip().splitlines()[-1:]}") from None


def make(directory: pathlib.Path) -> None:
    if (directory / "server.pem").exists():
        return
    say("making the TLS certificate for localhost")
    directory.mkdir(mode=0o700, exist_ok=True)
    key = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        new = pathlib.Path(scratch)
        (new / "ca.conf").write_text(CONFIGURATION.format(name="Xerotier development authority"))
        (new / "server.conf").write_text(CONFIGURATION.format(name="localhost"))
        openssl("genpkey", *key, "-out", new / "ca.key")
        openssl("req", "-new", "-x509", "-sha256", "-days", 3650, "-config", new / "ca.conf", "-extensions", "authority", "-key", new / "ca.key", "-out", new / "ca.pem")
        openssl("genpkey", *key, "-out", new / "server.key")
        openssl("req", "-new", "-sha256", "-config", new / "server.conf", "-key", new / "server.key", "-out", new / "server.csr")
        # Clients refuse server certificates of more than 825 days.
        openssl("x509", "-req", "-sha256", "-days", 820, "-in", new / "server.csr", "-CA", new / "ca.pem", "-CAkey", new / "ca.key", "-CAcreateserial", "-extfile", new / "server.conf", "-extensions", "server", "-out", new / "server.pem")
        # The authority's key is not kept: nothing else is ever signed with it. server.pem comes last: its presence says that all are there.
        for name in ["ca.pem", "server.key", "server.pem"]:
            (new / name).chmod(0o644 if name.endswith(".pem") else 0o600)
            (new / name).replace(directory / name)
