"""Keys at rest and keys presented: who may call, told from a digest, the key itself is never kept.

A key reads `hg-<id>-<256 random bits>-<CRC-32>`: the id finds its record in one step, the checksum lets a scanner of
leaked secrets tell a real key from a lookalike. What is kept is HMAC-SHA-256 (RFC 2104) of the whole key under a pepper
that lives elsewhere, so neither the file nor the pepper alone lets anyone test guesses. Unknown, expired and revoked
keys take the same time and get the same answer. Files have mode 0600 and are replaced whole, under a lock; a running
gate rereads them when they change and keeps what it knew if it cannot.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b32encode
from collections.abc import Callable, Mapping
from pathlib import Path
from zlib import crc32

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from proxy.clock import secret_bytes, secret_token
from proxy.secret import Secret
from proxy.state.key_file import KeyStoreError as KeyStoreError
from proxy.state.key_file import locked, refusing, write
from proxy.types import KeyRecord

PEPPER_VARIABLE = "HEADGATE_PEPPER"
PEPPER_CHARS_LEAST = 16
PRESENTED_CHARS_MAX = 512
ID = slice(3, 11)
OPEN = KeyRecord(id="open")

_BLOCK = 64  # SHA-256's
_NO_DIGEST = bytes(32)


class StoredKey(Struct, frozen=True, omit_defaults=True):
    """One key at rest; safe to show but for `digest`, which is of no use without the pepper."""

    id: str
    digest: str
    created_wall: float
    agent: str | None = None
    team: str | None = None
    models: tuple[str, ...] | None = None
    expires_wall: float | None = None
    revoked_wall: float | None = None
    budget: tuple[str, ...] = ()  # as `policies.written` reads it; it never changes

    @property
    def record(self) -> KeyRecord:
        return KeyRecord(self.id, self.agent, self.team, self.models, self.expires_wall)


class _KeyFile(Struct, frozen=True, forbid_unknown_fields=True):
    """`pepper`: a digest under the pepper, so that a wrong pepper is named instead of refusing every key."""

    pepper: str
    keys: tuple[StoredKey, ...] = ()


class Pepper:
    """HMAC-SHA-256 under one key, its two pads hashed once: 1.6 us a digest instead of 3."""

    def __init__(self, key: bytes) -> None:
        padded = (key if len(key) <= _BLOCK else hashlib.sha256(key).digest()).ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))

    def __repr__(self) -> str:
        return "Pepper()"

    def digest(self, data: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(data)
        outer.update(inner.digest())
        return outer.digest()

    @property
    def check(self) -> str:
        return self.digest(b"headgate: is this the pepper?").hex()


def load_pepper(folder: Path, environment: Mapping[str, str]) -> Pepper:
    """From the environment, else from a file beside the keys that is made once."""
    text = environment.get(PEPPER_VARIABLE, "")
    if not text:
        with refusing(folder), locked(folder):
            file = folder / "pepper"
            if not file.exists():
                write(file, secret_token().encode())
            text = file.read_text().strip()
    if len(text) < PEPPER_CHARS_LEAST:
        raise KeyStoreError(f"the pepper is shorter than {PEPPER_CHARS_LEAST} characters")
    return Pepper(text.encode())


def has_keys(folder: Path) -> bool:
    """Whether any key was ever made there, revoked ones included; asks for no pepper and changes nothing."""
    try:
        return bool(msgspec.json.decode((folder / "keys.json").read_bytes(), type=_KeyFile).keys)
    except (OSError, ValueError, RecursionError):
        return False


class KeyStore:
    """The keys made with `headgate keys create`. `wall`: seconds since 1970."""

    def __init__(self, folder: Path, pepper: Pepper, wall: Callable[[], float]) -> None:
        self._folder = folder
        self._file = folder / "keys.json"
        self._pepper = pepper
        self._wall = wall
        self._seen: tuple[int, int, int] | None = None
        self._keys: tuple[StoredKey, ...] = ()
        self._live: dict[str, tuple[bytes, KeyRecord]] = {}
        self.reload_if_changed()

    def __repr__(self) -> str:
        return f"KeyStore({len(self._live)} live of {len(self._keys)})"

    @property
    def empty(self) -> bool:
        """No key was ever made; a store whose keys are all revoked is not empty, and opens nothing."""
        return not self._keys

    def create(
        self,
        agent: str | None,
        *,
        team: str | None = None,
        models: tuple[str, ...] | None = None,
        lasts_s: float | None = None,
        budget: tuple[str, ...] = (),
    ) -> tuple[KeyRecord, str]:
        """The record, and the key: shown this once and never again."""
        now = self._wall()
        with refusing(self._folder), locked(self._folder):
            self._reload()
            id = _new_id(frozenset(stored.id for stored in self._keys))
            text = _new_key(id)
            expires = None if lasts_s is None else now + lasts_s
            digest = self._pepper.digest(text.encode()).hex()
            stored = StoredKey(id, digest, now, agent, team, models, expires, budget=budget)
            self._save((*self._keys, stored))
        return stored.record, text

    def revoke(self, id: str) -> bool:
        """False: there is no such key. Revoking twice keeps the first instant."""
        with refusing(self._folder), locked(self._folder):
            self._reload()
            if all(stored.id != id for stored in self._keys):
                return False
            now = self._wall()
            self._save(
                tuple(
                    replace(stored, revoked_wall=now) if stored.id == id and stored.revoked_wall is None else stored
                    for stored in self._keys
                )
            )
        return True

    def list(self) -> tuple[StoredKey, ...]:
        return self._keys

    def budget(self, id: str) -> tuple[str, ...]:
        """Of one key. One that another process has just made is looked for in the file: it must not be free of limits
        until the next look at it."""
        if not any(stored.id == id for stored in self._keys):
            self.reload_if_changed()
        return next((stored.budget for stored in self._keys if stored.id == id), ())

    def find(self, presented: str, digest: bytes) -> KeyRecord | None:
        """`digest`: of what is presented, under the pepper."""
        known, record = self._live.get(presented[ID], (_NO_DIGEST, OPEN))
        if not hmac.compare_digest(known, digest):
            return None
        expires = record.expires_wall
        return record if expires is None or self._wall() < expires else None

    def of(self, id: str) -> KeyRecord | None:
        """None: there is none, or it opens nothing any more."""
        _, record = self._live.get(id, (_NO_DIGEST, None))
        expires = None if record is None else record.expires_wall
        return record if expires is None or self._wall() < expires else None

    def reload_if_changed(self) -> bool:
        """For a running gate to ask now and then. Raises KeyStoreError and keeps what it knew if the file is broken."""
        with refusing(self._folder):
            return self._signature() != self._seen and self._reload()

    def _signature(self) -> tuple[int, int, int] | None:
        try:
            status = self._file.stat()
        except FileNotFoundError:
            if self._seen is None:
                return None
            raise  # keys that vanish are a fault, not a revocation of all
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _reload(self) -> bool:
        signature = self._signature()  # before reading: a change in between is seen the next time
        if signature is None:
            return False
        content = msgspec.json.decode(self._file.read_bytes(), type=_KeyFile)
        if not hmac.compare_digest(content.pepper, self._pepper.check):
            raise KeyStoreError(f"{self._file} was made under another pepper; restore it, or {PEPPER_VARIABLE}")
        self._take(content.keys, signature)
        return True

    def _save(self, keys: tuple[StoredKey, ...]) -> None:
        write(self._file, msgspec.json.encode(_KeyFile(self._pepper.check, keys)))
        self._take(keys, self._signature())

    def _take(self, keys: tuple[StoredKey, ...], signature: tuple[int, int, int] | None) -> None:
        live = {key.id: (bytes.fromhex(key.digest), key.record) for key in keys if key.revoked_wall is None}
        self._seen, self._keys, self._live = signature, keys, live


class Keyring:
    """Every key that opens the gate: those of the configuration, then those of the store.

    With no key anywhere and a loopback listener the gate is open, and any key or none is accepted.
    """

    def __init__(
        self, store: KeyStore, pepper: Pepper, *, configured: tuple[tuple[Secret, KeyRecord], ...], loopback: bool
    ) -> None:
        self._store = store
        self._pepper = pepper
        self._may_be_open = loopback and not configured
        # Found by a digest under the pepper: how long that takes tells a caller nothing about the keys.
        self._configured: dict[bytes, KeyRecord] = {}
        for secret, record in configured:
            text = secret.reveal().encode()
            id = f"cfg-{pepper.digest(b'id:' + text).hex()[:8]}"
            self._configured[pepper.digest(text)] = replace(record, id=id)

    def __repr__(self) -> str:
        return f"Keyring({len(self._configured)} configured, {self._store!r}, open={self.open})"

    @property
    def open(self) -> bool:
        return self._may_be_open and self._store.empty

    def budget(self, id: str) -> tuple[str, ...]:
        """That a key of the store brings with it."""
        return self._store.budget(id)

    def identify(self, presented: str) -> KeyRecord | None:
        if len(presented) > PRESENTED_CHARS_MAX:
            return None
        digest = self._pepper.digest(presented.encode("utf-8", "surrogatepass"))
        record = self._configured.get(digest) or self._store.find(presented, digest)
        return OPEN if record is None and self.open else record

    def of(self, id: str) -> KeyRecord | None:
        """Of a key that was identified before: what it may do now. None: nothing."""
        if id == OPEN.id:
            return OPEN if self.open else None
        return next((record for record in self._configured.values() if record.id == id), None) or self._store.of(id)


def _new_id(taken: frozenset[str]) -> str:
    for _ in range(8):
        id = b32encode(secret_bytes(5)).decode().lower()
        if id not in taken:
            return id
    raise KeyStoreError("no free key id was found")


def _new_key(id: str) -> str:
    body = f"hg-{id}-{secret_token(32)}"
    return f"{body}-{crc32(body.encode()):08x}"
