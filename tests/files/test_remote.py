from __future__ import annotations

import sys
from pathlib import Path, PurePath

import fsspec
import pytest

from unbraid.errors import AudioReadError, MissingExtraError
from unbraid.files.remote import Url, facts_of, find_files, is_url, open_url, put_files, read_url, remove_url


@pytest.fixture
def store():
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    yield memory
    memory.store.clear()


def test_what_is_an_address():
    for text in ("s3://bucket/a.wav", "gs://b", "memory://a", "file:///tmp/a.wav", "simplecache::s3://b/a.wav"):
        assert is_url(text)
        assert is_url(Url(text))
    for text in ("a.wav", "C://music/a.wav", "/tmp/s3:/a", "a b://c", "-", Path("s3://bucket/a")):
        assert not is_url(text)
    assert (Url("s3://bucket/out/") / Path("m/a.wav")).text == "s3://bucket/out/m/a.wav"


def test_folders_patterns_and_files(store):
    for name in ("in/b.wav", "in/sub/a.FLAC", "in/.hidden/c.wav", "in/text.txt"):
        store.pipe(f"/{name}", b"x")
    assert [(str(url), str(below)) for url, below in find_files("memory://in", ["wav", "flac"])] == [
        ("memory:///in/b.wav", "b.wav"),
        ("memory:///in/sub/a.FLAC", "sub/a.FLAC"),
    ]
    assert [below for _, below in find_files("memory://in/*.wav", ["wav"])] == [PurePath("b.wav")]
    assert [below for _, below in find_files("memory://in/text.txt", ["wav"])] == [PurePath("text.txt")]
    with pytest.raises(AudioReadError, match=r"'memory://in/none\.wav' does not exist"):
        find_files("memory://in/none.wav", ["wav"])


def test_a_file_is_put_read_and_taken_away(store, tmp_path):
    (tmp_path / "a").write_bytes(b"sound")
    put_files([(tmp_path / "a", Url("memory://out/deep/a"))])
    assert read_url("memory://out/deep/a") == b"sound"
    before = facts_of("memory://out/deep/a")
    assert before.bytes == 5
    (tmp_path / "a").write_bytes(b"noise")
    put_files([(tmp_path / "a", Url("memory://out/deep/a"))])
    assert facts_of("memory://out/deep/a") != before
    remove_url(Url("memory://out/deep/a"))
    remove_url(Url("memory://out/deep/a"))
    assert store.find("/out") == []


def test_a_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'unbraid\[cloud\]'"), open_url("s3://bucket/a.wav"):
        pass


def test_a_missing_driver_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(AudioReadError, match=r"'s3://bucket/a\.wav' cannot be read \(.*s3fs.*\): install that package"):
        facts_of("s3://bucket/a.wav")
    with pytest.raises(AudioReadError, match="cannot be read"):
        facts_of("nonsense://bucket/a.wav")
