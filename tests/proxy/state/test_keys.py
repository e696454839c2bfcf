from __future__ import annotations

import hmac
import json
import stat
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.secret import Secret
from proxy.state.keys import (
    OPEN,
    Keyring,
    KeyStore,
    KeyStoreError,
    Pepper,
    has_keys,
    load_pepper,
)
from proxy.types import KeyRecord

PEPPER = Pepper(b"a pepper of the tests")


class Wall:
    """A wall clock that stands where it is put."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def store_in(folder: Path, wall: Wall | None = None) -> KeyStore:
    return KeyStore(folder, PEPPER, wall or Wall())


def found(store: KeyStore, text: str) -> KeyRecord | None:
    return store.find(text, PEPPER.digest(text.encode()))


def ring_of(store: KeyStore, *configured: tuple[str, KeyRecord], loopback: bool = True) -> Keyring:
    keys = tuple((Secret(text), record) for text, record in configured)
    return Keyring(store, PEPPER, configured=keys, loopback=loopback)


KEY_CHARS = 3 + 8 + 1 + 43 + 1 + 8


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_the_digest_is_hmac_sha_256(key: bytes, data: bytes) -> None:
    pepper = Pepper(key)
    assert pepper.digest(data) == hmac.digest(key, data, "sha256")
    assert pepper.digest(data) == pepper.digest(data)


def test_a_key_has_id_256_random_bits_and_a_checksum(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    record, text = store.create("planner")
    assert len(text) == KEY_CHARS
    assert text.startswith(f"hg-{record.id}-")
    body, checksum = text[:-9], text[-8:]
    assert f"{crc32(body.encode()):08x}" == checksum
    assert len({store.create("planner")[1][12:55] for _ in range(20)}) == 20


def test_a_key_is_found_with_what_it_may_do(tmp_path: Path) -> None:
    wall = Wall()
    store = store_in(tmp_path, wall)
    record, text = store.create("planner", team="core", models=("small",), lasts_s=60)
    assert record == KeyRecord(record.id, "planner", "core", ("small",), wall.now + 60)
    assert found(store, text) == record
    assert found(store_in(tmp_path), text) == record


def test_the_key_itself_is_kept_nowhere(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    record, text = store.create("planner")
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert text.encode() not in kept
    assert text[12:55].encode() not in kept
    assert text[12:] not in repr((store, store.list(), record))


@pytest.mark.parametrize("at", range(KEY_CHARS))
def test_every_character_of_a_key_counts(tmp_path: Path, at: int) -> None:
    store = store_in(tmp_path)
    _, text = store.create("planner")
    changed = text[:at] + ("a" if text[at] != "a" else "b") + text[at + 1 :]
    assert found(store, changed) is None


def test_unknown_expired_and_revoked_keys_look_alike(tmp_path: Path) -> None:
    wall = Wall()
    store = store_in(tmp_path, wall)
    _, expired = store.create("a", lasts_s=10)
    revoked_record, revoked = store.create("a")
    _, kept = store.create("a")
    store.revoke(revoked_record.id)
    wall.now += 9.9
    assert found(store, expired) is not None
    wall.now += 0.1
    ring = ring_of(store)
    answers = [ring.identify(text) for text in (expired, revoked, "hg-aaaaaaaa-x", "", "x" * 64, "\udcff", kept + "a")]
    assert answers == [None] * 7
    assert ring.identify(kept) is not None


def test_a_running_gate_learns_of_revocation_at_its_next_look(tmp_path: Path) -> None:
    running, command = store_in(tmp_path), store_in(tmp_path)
    record, text = command.create("a")
    assert running.reload_if_changed()
    assert found(running, text) == record
    assert not running.reload_if_changed()
    assert command.revoke(record.id)
    assert running.reload_if_changed()
    assert found(running, text) is None


def test_revoking_again_keeps_the_first_instant_and_an_unknown_id_is_told(tmp_path: Path) -> None:
    wall = Wall()
    store = store_in(tmp_path, wall)
    record, _ = store.create("a")
    assert store.revoke(record.id)
    wall.now += 5
    assert store.revoke(record.id)
    assert [key.revoked_wall for key in store.list()] == [1_000_000.0]
    assert not store.revoke("zzzzzzzz")


def test_two_writers_lose_no_key(tmp_path: Path) -> None:
    first, second = store_in(tmp_path), store_in(tmp_path)
    texts = [store.create("a")[1] for store in (first, second, first, second)]
    third = store_in(tmp_path)
    assert all(found(third, text) for text in texts)


def test_files_are_for_their_owner_only_and_nothing_is_left_behind(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    store = KeyStore(folder, load_pepper(folder, {}), Wall())
    store.create("a")
    store.create("a")
    assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {
        "keys.json": 0o600,
        "keys.lock": 0o600,
        "pepper": 0o600,
    }
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pepper": "x", "keys": [], "more": 1}', b"\xff", b"[" * 9999])
def test_a_broken_file_keeps_what_was_known_and_says_so(tmp_path: Path, content: bytes) -> None:
    store = store_in(tmp_path)
    record, text = store.create("a")
    (tmp_path / "keys.json").write_bytes(content)
    with pytest.raises(KeyStoreError, match=r"broken|another pepper"):
        store.reload_if_changed()
    assert found(store, text) == record
    with pytest.raises(KeyStoreError):
        store_in(tmp_path)
    with pytest.raises(KeyStoreError):
        store.create("b")
    assert (tmp_path / "keys.json").read_bytes() == content


def test_a_file_that_vanishes_is_a_fault_and_no_revocation_of_all(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    record, text = store.create("a")
    (tmp_path / "keys.json").unlink()
    with pytest.raises(KeyStoreError):
        store.reload_if_changed()
    assert found(store, text) == record


def test_a_wrong_pepper_is_named_instead_of_refusing_every_key(tmp_path: Path) -> None:
    store_in(tmp_path).create("a")
    with pytest.raises(KeyStoreError, match="another pepper"):
        KeyStore(tmp_path, Pepper(b"another"), Wall())


def test_the_pepper_is_made_once_and_the_environments_goes_first(tmp_path: Path) -> None:
    made = load_pepper(tmp_path, {})
    assert load_pepper(tmp_path, {}).check == made.check
    given = load_pepper(tmp_path, {"HEADGATE_PEPPER": "0123456789abcdef"})
    assert given.check == Pepper(b"0123456789abcdef").check != made.check


def test_a_short_pepper_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyStoreError, match="shorter than 16"):
        load_pepper(tmp_path, {"HEADGATE_PEPPER": "short"})
    (tmp_path / "pepper").write_bytes(b"")
    with pytest.raises(KeyStoreError, match="shorter than 16"):
        load_pepper(tmp_path, {})


def test_the_environments_pepper_writes_nothing(tmp_path: Path) -> None:
    load_pepper(tmp_path / "data", {"HEADGATE_PEPPER": "0123456789abcdef"})
    assert not (tmp_path / "data").exists()


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyStoreError, match="cannot hold keys"):
        load_pepper(tmp_path / "file", {})


def test_whether_keys_exist_is_told_without_a_pepper(tmp_path: Path) -> None:
    assert not has_keys(tmp_path)
    assert not has_keys(Path("a\0b"))
    store = store_in(tmp_path)
    record, _ = store.create("a")
    store.revoke(record.id)
    assert has_keys(tmp_path)
    (tmp_path / "keys.json").write_text("x")
    assert not has_keys(tmp_path)


def test_configured_keys_open_the_gate_beside_stored_ones(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    record, text = store.create("a")
    ring = ring_of(store, ("first-key", KeyRecord("")), ("second-key", KeyRecord("", "b", None, ("m",))))
    anyone, second = ring.identify("first-key"), ring.identify("second-key")
    assert anyone is not None
    assert anyone.agent is None
    assert second is not None
    assert (second.agent, second.models) == ("b", ("m",))
    assert ring.identify(text) == record
    assert ring.identify("third-key") is None
    assert not ring.open


def test_a_configured_keys_id_is_steady_and_gives_nothing_away(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    ids = {
        ring.identify("first-key").id  # type: ignore[union-attr]
        for ring in (
            ring_of(store, ("first-key", KeyRecord(""))),
            ring_of(store, ("other", KeyRecord("")), ("first-key", KeyRecord(""))),
        )
    }
    (id,) = ids
    assert id.startswith("cfg-")
    other = Keyring(store, Pepper(b"x"), configured=((Secret("first-key"), KeyRecord("")),), loopback=True)
    assert other.identify("first-key").id != id  # type: ignore[union-attr]


def test_without_any_key_a_loopback_gate_is_open_to_all(tmp_path: Path) -> None:
    ring = ring_of(store_in(tmp_path))
    assert ring.open
    assert [ring.identify(text) for text in ("", "anything", "hg-x")] == [OPEN] * 3


def test_without_any_key_a_gate_on_a_network_is_closed(tmp_path: Path) -> None:
    assert ring_of(store_in(tmp_path), loopback=False).identify("anything") is None


def test_the_first_key_closes_an_open_gate_and_revoking_it_does_not_open_it_again(tmp_path: Path) -> None:
    running, command = store_in(tmp_path), store_in(tmp_path)
    ring = ring_of(running)
    record, text = command.create("a")
    running.reload_if_changed()
    assert ring.identify("anything") is None
    assert ring.identify(text) == record
    command.revoke(record.id)
    running.reload_if_changed()
    assert ring.identify("anything") is None
    assert not ring.open


def test_an_endless_key_is_refused_even_by_an_open_gate(tmp_path: Path) -> None:
    assert ring_of(store_in(tmp_path)).identify("x" * 513) is None


@given(st.text(st.characters(), max_size=80))
def test_no_presented_text_fails_or_passes(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed"
    store = store_in(folder)
    if store.empty:
        store.create("a")
    assert ring_of(store).identify(text) is None


def test_the_file_is_readable_json_with_digests(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    record, text = store.create("a")
    (key,) = json.loads((tmp_path / "keys.json").read_bytes())["keys"]
    assert key == {"id": record.id, "digest": PEPPER.digest(text.encode()).hex(), "created_wall": 1e6, "agent": "a"}


def test_a_key_brings_its_budget_which_another_process_has_at_its_first_question(tmp_path: Path) -> None:
    elsewhere = store_in(tmp_path)
    elsewhere.create("before")
    store = store_in(tmp_path)
    record, _ = elsewhere.create("planner", budget=("5.00/day",))
    assert ring_of(store).budget(record.id) == ("5.00/day",)
    assert [stored.budget for stored in store.list()] == [(), ("5.00/day",)]
    assert ring_of(store).budget("cfg-0000") == ()


def test_a_key_without_a_budget_is_kept_as_it_always_was(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.create("planner")
    (kept,) = json.loads((tmp_path / "keys.json").read_text())["keys"]
    assert "budget" not in kept


def test_a_key_that_was_identified_is_known_by_its_id_for_as_long_as_it_opens_the_gate(tmp_path: Path) -> None:
    wall = Wall()
    store = store_in(tmp_path, wall)
    assert ring_of(store).of(OPEN.id) == OPEN
    assert ring_of(store).of("none") is None
    lasting, _ = store.create("a", lasts_s=10)
    revoked, _ = store.create("b")
    ring = ring_of(store, ("a-key-of-some-length", KeyRecord("", "c")))
    configured = ring.identify("a-key-of-some-length")
    assert configured is not None
    assert ring.of(configured.id) == configured
    assert (ring.of(lasting.id), ring.of(revoked.id)) == (lasting, revoked)
    store.revoke(revoked.id)
    wall.now += 10
    assert (ring.of(lasting.id), ring.of(revoked.id)) == (None, None)
    assert ring.of(OPEN.id) is None
