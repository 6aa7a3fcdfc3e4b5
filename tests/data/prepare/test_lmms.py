"""Song projects of LMMS rendered to stems, with a stand-in for the program."""

import struct
import zlib

import numpy as np
import pytest
import soundfile

from unbraid.data.open import open_dataset
from unbraid.data.prepare import lmms as rendering
from unbraid.data.prepare.lmms import prepare_lmms, sounding_stem
from unbraid.data.prepare.lmms_projects import LmmsProject
from unbraid.data.prepare.tasks import Failed, Prepared, Wrote
from unbraid.errors import DataError

RATE = 8000
INSTRUMENTS = {
    "Kick BD-A": "", "it's_8bit": "factorysample:drumsynth/electro/K_8bit.ds", "Sonar.ds": "drumsynth/effects/Sonar.ds",
    "Bass Slap 02": "", "Strings (low)": "", "Default preset": "", "crash": "",
}  # fmt: skip


def project(path, instruments=None):
    names = INSTRUMENTS if instruments is None else instruments
    tracks = "".join(
        f'<track type="0" name="{name}"><instrument name="x"><audiofileprocessor src="{sound}"/></instrument></track>'
        for name, sound in names.items()
    )
    text = f"<?xml version='1.0'?><lmms-project><song><trackcontainer>{tracks}</trackcontainer></song></lmms-project>"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(">I", len(text)) + zlib.compress(text.encode()))
    return path


def tone(hz, seconds=1.0):
    return 0.1 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)


@pytest.fixture
def player(tmp_path, monkeypatch):
    """A program that writes what LMMS would: a file per instrument, numbered, of different lengths."""
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    for number, (name, hz) in enumerate(zip(INSTRUMENTS, (50, 400, 900, 80, 600, 60, 0), strict=True), start=1):
        samples = tone(hz, 1 + number / 10)
        soundfile.write(sounds / f"{number}_{name}.wav", np.stack([samples, samples]).T, RATE, subtype="FLOAT")
    program = tmp_path / "lmms"
    lines = (
        "#!/bin/sh",
        '[ "$QT_QPA_PLATFORM" = offscreen ] || exit 3',
        'grep -q factorysample "$2" && exit 4',
        'grep -q drumsynth "$2" || exit 5',
        f'cp {sounds}/*.wav "$4"',
    )
    program.write_text("\n".join(lines) + "\n")
    program.chmod(0o755)
    monkeypatch.setattr(rendering.shutil, "which", lambda _: str(program))
    return program


def test_instruments_become_stems_by_name_and_sound(tmp_path):
    of = LmmsProject(project(tmp_path / "a.mmpz")).stem_of
    assert [of(name) for name in INSTRUMENTS] == ["drums", "drums", "other", "bass", "other", None, "drums"]
    # What LMMS may have changed in the name of a file.
    assert of("it_s_8bit") == "drums"
    assert (of("Bass drum"), of("TR606_Tom_H.ds"), of("Sub Low"), of("Lead")) == ("drums", "drums", "bass", "other")
    assert sounding_stem(np.stack([tone(60)] * 2), RATE) == "bass"
    assert sounding_stem(np.stack([tone(440)] * 2), RATE) == "other"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp037"])
def test_a_project_with_entities_or_in_another_encoding_is_refused(tmp_path, encoding):
    """An entity that stands for ten others, and so on, would fill the memory."""
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE a [<!ENTITY b "x"><!ENTITY c "&b;&b;">]><a>&c;</a>'
    (tmp_path / "a.mmp").write_bytes(text.encode(encoding))
    with pytest.raises(DataError, match="is not a project of LMMS"):
        LmmsProject(tmp_path / "a.mmp")


def test_a_project_that_unpacks_to_gigabytes_is_refused(tmp_path):
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(bytes(1 << 24)) for _ in range(5)) + packer.flush()
    assert len(packed) < 1 << 20
    (tmp_path / "a.mmpz").write_bytes(b"\0\0\0\1" + packed)
    with pytest.raises(DataError, match="is not a project of LMMS"):
        LmmsProject(tmp_path / "a.mmpz")


def test_projects_become_songs_that_a_corpus_takes(tmp_path, player):
    project(tmp_path / "projects/one.mmpz")
    (tmp_path / "projects/two.mmpz").write_bytes(b"\0\0\0\1 not packed")
    out = tmp_path / "corpus/music/rendered-lmms/train"
    events = list(prepare_lmms(tmp_path / "projects", out, RATE))
    assert [type(event) for event in events[1:]].count(Prepared) == 1
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert "two.mmpz" in failed.message
    assert "not a project of LMMS" in failed.message
    assert isinstance(events[-1], Wrote)
    assert (out / "manifest.csv").read_text().splitlines()[1] == "one/bass.flac,one,bass,1.600"
    stems = {path.stem: soundfile.read(path)[0] for path in sorted((out / "one").iterdir())}
    assert list(stems) == ["bass", "drums", "other"]
    # As long as the longest, all at one gain: 80 and 60 Hz; 50 and 400; 900 and 600 Hz.
    assert len({len(samples) for samples in stems.values()}) == 1
    assert np.abs(sum(stems.values())).max() == pytest.approx(0.9, abs=1e-3)
    expected = np.zeros(len(stems["bass"]))
    for hz, seconds in ((80, 1.4), (60, 1.6)):
        expected[: round(seconds * RATE)] += tone(hz, seconds)
    gain = stems["bass"].max() / expected.max()
    assert np.allclose(stems["bass"][64:, 0], gain * expected[64:], atol=1e-3)
    assert not stems["bass"][:64].any()
    again = list(prepare_lmms(tmp_path / "projects", out, RATE))
    assert [event.skipped for event in again if isinstance(event, Prepared)] == [True]
    (tmp_path / "corpus/music/manifest.csv").write_text("path,track,stem,split\nx.flac,x,drums,test\n")
    (item,) = open_dataset(tmp_path / "corpus", "train", "corpus:music").items
    assert set(item.sources) == {"bass", "drums", "other"}
    assert item.labels["collection"] == "rendered-lmms"


def test_without_the_program_or_projects_it_is_a_sentence(tmp_path, monkeypatch, player):
    with pytest.raises(DataError, match="holds no projects of LMMS"):
        list(prepare_lmms(tmp_path / "sounds", tmp_path / "out"))
    project(tmp_path / "projects/one.mmpz")
    player.write_text("#!/bin/sh\necho cannot play >&2\nexit 1\n")
    (_, failed) = list(prepare_lmms(tmp_path / "projects", tmp_path / "out"))
    assert "cannot be rendered by LMMS (cannot play)" in failed.message
    monkeypatch.setattr(rendering.shutil, "which", lambda _: None)
    with pytest.raises(DataError, match="LMMS is not installed"):
        list(prepare_lmms(tmp_path / "projects", tmp_path / "out"))
