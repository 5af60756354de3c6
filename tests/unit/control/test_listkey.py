"""The key of sealed lists: from the credential, else from the state folder, and readable by nobody else."""

from __future__ import annotations

import pytest

from sekisho.drivers.listkey import find_key, load_key, read_secret
from sekisho.model.errors import TableError


def test_a_key_is_made_once_and_kept(tmp_path):
    first = read_secret(tmp_path / "state", "")
    assert len(first) == 16
    assert read_secret(tmp_path / "state", "") == first
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["list.key"]
    assert (tmp_path / "state" / "list.key").stat().st_mode & 0o777 == 0o600


def test_two_sites_have_two_keys(tmp_path):
    assert read_secret(tmp_path / "a", "") != read_secret(tmp_path / "b", "")


@pytest.mark.parametrize("raw", [bytes(range(16)), bytes(range(16)).hex().encode(), bytes(range(16)).hex().upper().encode() + b"\n"])
def test_a_credential_goes_before_the_state_folder(tmp_path, raw):
    (tmp_path / "list-key").write_bytes(raw)
    assert read_secret(tmp_path / "state", str(tmp_path)) == bytes(range(16))
    assert not (tmp_path / "state").exists()


def test_who_may_not_make_a_key_finds_none_until_there_is_one(tmp_path):
    assert find_key(tmp_path / "state", "") is None
    assert not (tmp_path / "state").exists()
    assert load_key(tmp_path / "state", "") == find_key(tmp_path / "state", "")


def test_a_credential_that_cannot_be_read_is_never_passed_over(tmp_path):
    (tmp_path / "list-key").mkdir()
    with pytest.raises(TableError, match="cannot be read"):
        read_secret(tmp_path / "state", str(tmp_path))
    assert not (tmp_path / "state").exists(), "another key would make every list unreadable"


def test_the_credential_is_found_by_the_environment(tmp_path, monkeypatch):
    (tmp_path / "list-key").write_bytes(bytes(range(16)))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert [int(word) for word in load_key(tmp_path / "state")] == [0x0706050403020100, 0x0F0E0D0C0B0A0908]


@pytest.mark.parametrize("raw", [b"", b"short", bytes(17), b"zz" * 16])
def test_what_is_no_key_is_refused_without_showing_it(tmp_path, raw):
    (tmp_path / "list.key").write_bytes(raw)
    with pytest.raises(TableError, match="is not 16 bytes") as caught:
        read_secret(tmp_path, "")
    assert "zz" not in str(caught.value)
