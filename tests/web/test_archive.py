"""Zips of files whose times a zip cannot have, because a clock was wrong."""

import io
import os
import zipfile

import pytest

from unbraid.web.archive import stream_zip


@pytest.mark.parametrize(("seconds", "year"), [(0, 1980), (-(10**9), 1980), (10**9, 2001), (2**33, 2107)])
def test_a_zip_is_whole_whatever_the_clock_said(tmp_path, seconds, year):
    path = tmp_path / "a.wav"
    path.write_bytes(b"sound")
    try:
        os.utime(path, (seconds, seconds))
    except OverflowError:
        pytest.skip("this disk has no such times")
    archive = zipfile.ZipFile(io.BytesIO(b"".join(stream_zip({"a.wav": path}))))
    assert archive.read("a.wav") == b"sound"
    assert archive.testzip() is None
    assert archive.getinfo("a.wav").date_time[0] == year
