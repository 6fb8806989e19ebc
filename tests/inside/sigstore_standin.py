"""A stand-in for GitHub's token issuer, Fulcio and Rekor (version 1).

It also gives the client trust config that names it.

It does what the real sigstore client verifies: a certificate for an identity, with a certificate
timestamp of a transparency log, and a log entry with proof of inclusion, signed checkpoint and
signed time. It keeps nothing.
"""

import base64
import hashlib
import json
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

GITHUB = "https://token.actions.githubusercontent.com"
SCT = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
BEARER = "the run's own secret"
USAGES = [
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
]
USAGES += ["key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]


def new_key() -> ec.EllipticCurvePrivateKey:
    """A private key."""
    return ec.generate_private_key(ec.SECP256R1())


def public(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Its public half."""
    return bytes(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def key_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    """What names it."""
    return hashlib.sha256(public(key)).digest()


def signed(key: ec.EllipticCurvePrivateKey, content: bytes) -> bytes:
    """A signature."""
    return bytes(key.sign(content, ec.ECDSA(hashes.SHA256())))


def b64(content: bytes) -> str:
    """Base64."""
    return base64.b64encode(content).decode()


@dataclass
class StandIn:
    """Keys of the three, and whom the next token speaks for."""

    workflow: str
    issuer: str = GITHUB
    url: str = ""
    ca: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    ct: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    log: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    github: ec.EllipticCurvePrivateKey = field(default_factory=new_key)

    def __post_init__(self) -> None:
        """The root certificate."""
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in for Fulcio")])
        builder = self._certificate(self.ca.public_key(), self.name, timedelta(days=1))
        builder = builder.add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        builder = builder.add_extension(self._usage("key_cert_sign"), critical=True)
        self.root = builder.sign(self.ca, hashes.SHA256())

    def _certificate(self, key: Any, name: x509.Name, life: timedelta) -> x509.CertificateBuilder:
        now, identifier = datetime.now(UTC), x509.SubjectKeyIdentifier.from_public_key
        builder = (
            x509.CertificateBuilder().issuer_name(self.name).subject_name(name).public_key(key)
        )
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(
            now - timedelta(minutes=1)
        )
        builder = builder.not_valid_after(now + life).add_extension(identifier(key), critical=False)
        mine = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.ca.public_key())
        return builder.add_extension(mine, critical=False)

    def _usage(self, allowed: str) -> x509.KeyUsage:
        return x509.KeyUsage(**{usage: usage == allowed for usage in USAGES})

    def token(self, audience: str) -> str:
        """GitHub: who runs."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": audience,
            "sub": "repo",
            "iat": now,
            "nbf": now,
            "exp": now + 300,
        }
        return str(
            jwt.encode(
                {**claims, "job_workflow_ref": self.workflow}, self.github, algorithm="ES256"
            )
        )

    def certify(self, token: str, request: x509.CertificateSigningRequest) -> list[str]:
        """Fulcio: a certificate of ten minutes for who has the token, logged."""
        claims = jwt.decode(
            token, self.github.public_key(), algorithms=["ES256"], audience="sigstore"
        )
        assert request.is_signature_valid
        names = [x509.UniformResourceIdentifier(f"https://github.com/{claims['job_workflow_ref']}")]
        builder = self._certificate(request.public_key(), x509.Name([]), timedelta(minutes=10))
        builder = builder.add_extension(self._usage("digital_signature"), critical=True)
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
        )
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
        builder = builder.add_extension(
            x509.UnrecognizedExtension(ISSUER, claims["iss"].encode()), critical=False
        )
        logged = builder.sign(self.ca, hashes.SHA256()).tbs_certificate_bytes
        when = struct.pack("!Q", int(time.time() * 1000))
        entry = key_id(self.ca) + struct.pack("!I", len(logged))[1:] + logged
        seal = signed(self.ct, b"\0\0" + when + b"\0\1" + entry + b"\0\0")
        stamp = b"\0" + key_id(self.ct) + when + b"\0\0\4\3" + struct.pack("!H", len(seal)) + seal
        stamps = struct.pack("!HH", len(stamp) + 2, len(stamp)) + stamp
        octets = (b"\4" if len(stamps) < 128 else b"\4\x81") + bytes([len(stamps)]) + stamps
        final = builder.add_extension(x509.UnrecognizedExtension(SCT, octets), critical=False)
        chain = (final.sign(self.ca, hashes.SHA256()), self.root)
        return [certificate.public_bytes(Encoding.PEM).decode() for certificate in chain]

    def enter(self, proposed: dict[str, Any]) -> dict[str, Any]:
        """Rekor: the second entry of a log of two."""
        content = proposed["spec"]["proposedContent"]
        envelope, (verifier,) = json.loads(content["envelope"]), content["verifiers"]

        def sha256(octets: bytes) -> dict[str, str]:
            return {"algorithm": "sha256", "value": hashlib.sha256(octets).hexdigest()}

        spec = {
            "envelopeHash": sha256(content["envelope"].encode()),
            "payloadHash": sha256(base64.b64decode(envelope["payload"])),
            "signatures": [
                {"signature": one["sig"], "verifier": verifier} for one in envelope["signatures"]
            ],
        }
        body = json.dumps({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec}).encode()
        first = hashlib.sha256(b"\0the first entry").digest()
        root = hashlib.sha256(b"\1" + first + hashlib.sha256(b"\0" + body).digest()).digest()
        entry = {
            "body": b64(body),
            "integratedTime": int(time.time()),
            "logID": key_id(self.log).hex(),
            "logIndex": 1,
        }
        note = f"stand-in for Rekor\n2\n{b64(root)}\n"
        stamp = b64(key_id(self.log)[:4] + signed(self.log, note.encode()))
        checkpoint = f"{note}\n\u2014 stand-in {stamp}\n"
        tree = {"logIndex": 1, "treeSize": 2, "rootHash": root.hex()}
        proof = {**tree, "checkpoint": checkpoint, "hashes": [first.hex()]}
        promised = signed(
            self.log, json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()
        )
        return {
            "00": entry
            | {"verification": {"inclusionProof": proof, "signedEntryTimestamp": b64(promised)}}
        }

    def trust_config(self) -> dict[str, Any]:
        """What `keys/sigstore.json` says of this stand-in."""
        since = {"start": "2020-01-01T00:00:00Z"}

        def log(key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
            public_key = {
                "rawBytes": b64(public(key)),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": since,
            }
            named = {"baseUrl": self.url, "hashAlgorithm": "SHA2_256"}
            return {**named, "publicKey": public_key, "logId": {"keyId": b64(key_id(key))}}

        at = [{"url": self.url, "majorApiVersion": 1, "validFor": since, "operator": "stand-in"}]
        authority = {
            "subject": {"organization": "stand-in", "commonName": "stand-in"},
            "uri": self.url,
            "certChain": {
                "certificates": [{"rawBytes": b64(self.root.public_bytes(Encoding.DER))}]
            },
            "validFor": since,
        }
        kind = "application/vnd.dev.sigstore."
        return {
            "mediaType": f"{kind}clienttrustconfig.v0.1+json",
            "trustedRoot": {
                "mediaType": f"{kind}trustedroot+json;version=0.1",
                "tlogs": [log(self.log)],
                "certificateAuthorities": [authority],
                "ctlogs": [log(self.ct)],
                "timestampAuthorities": [],
            },
            "signingConfig": {
                "mediaType": f"{kind}signingconfig.v0.2+json",
                **{"caUrls": at, "oidcUrls": at, "rekorTlogUrls": at, "tsaUrls": []},
                "rekorTlogConfig": {"selector": "ANY"},
                "tsaConfig": {"selector": "ANY"},
            },
        }


def handler(standin: StandIn) -> type[BaseHTTPRequestHandler]:
    """The three over HTTP."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self, make: Callable[[], Any], code: int = 200) -> None:
            body = json.dumps(make()).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            path = urlsplit(self.path)
            if path.path == "/token" and self.headers["Authorization"] == f"bearer {BEARER}":
                return self.answer(
                    lambda: {"value": standin.token(parse_qs(path.query)["audience"][0])}
                )
            if path.path == "/.well-known/openid-configuration":
                return self.answer(
                    lambda: {"authorization_endpoint": "nowhere", "token_endpoint": "nowhere"}
                )
            return self.send_error(403)

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/api/v2/signingCert":
                request = x509.load_pem_x509_csr(
                    base64.b64decode(asked["certificateSigningRequest"])
                )
                token = self.headers["Authorization"].removeprefix("Bearer ")
                chain = {"chain": {"certificates": standin.certify(token, request)}}
                return self.answer(lambda: {"signedCertificateEmbeddedSct": chain})
            if self.path == "/api/v1/log/entries":
                return self.answer(lambda: standin.enter(asked), 201)
            return self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def standing_in(workflow: str) -> Iterator[StandIn]:
    """The stand-in, on a port of this machine until the block ends.

    The next token speaks for `workflow`.
    """
    standin = StandIn(workflow)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(standin))
    standin.url = f"http://127.0.0.1:{server.server_address[1]}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield standin
    finally:
        server.shutdown()
        server.server_close()
