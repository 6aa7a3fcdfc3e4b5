"""MIDI files split by instrument, and rendered where fluidsynth is there."""

import io
import shutil
import struct
import sys
from contextlib import suppress
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from unbraid.data.open import open_dataset
from unbraid.data.prepare import midi as rendering
from unbraid.data.prepare.midi import prepare_midi
from unbraid.data.prepare.midi_files import MidiFile
from unbraid.data.prepare.tasks import Failed, Prepared
from unbraid.errors import DataError, MissingExtraError

HAS_FLUIDSYNTH = shutil.which("fluidsynth") and any(Path(font).is_file() for font in rendering.SOUND_FONTS)
TEMPO = bytes([0, 0xFF, 0x51, 3, 0x07, 0xA1, 0x20])  # half a second a beat
END = bytes([0, 0xFF, 0x2F, 0])


def midi_file(*tracks, kind=1):
    content = b"MThd" + struct.pack(">IHHH", 6, kind, len(tracks), 96)
    for track in tracks:
        content += b"MTrk" + struct.pack(">I", len(track)) + track
    return content


def note(channel, key, ticks=48):
    """A note of so many ticks, its end in running status as a note of no force."""
    return bytes([0, 0x90 | channel, key, 100, ticks, key, 0])


def program(channel, number):
    return bytes([0, 0xC0 | channel, number])


SONG = midi_file(
    TEMPO + program(1, 33) + END,
    program(0, 0) + b"".join(note(0, key) for key in (60, 64, 67)) + END,
    b"".join(note(1, key) for key in (36, 40)) + END,
    b"".join(note(9, key) for key in (35, 38, 42)) + END,
)


def notes(midi):
    """(channel, key) of every note that is begun."""
    tracks = mido.MidiFile(file=io.BytesIO(midi)).tracks
    found = [one for track in tracks for one in track if one.type == "note_on" and one.velocity > 0]
    return sorted((one.channel, one.note) for one in found)


def test_every_note_is_in_one_part():
    file = MidiFile(SONG, "song")
    assert file.groups() == ("drums", "bass", "other")
    assert notes(file.part("drums")) == [(9, 35), (9, 38), (9, 42)]
    assert notes(file.part("bass")) == [(1, 36), (1, 40)]
    assert notes(file.part("other")) == [(0, 60), (0, 64), (0, 67)]


def test_parts_keep_what_is_no_note():
    for group in ("drums", "bass", "other"):
        part = MidiFile(SONG, "song").part(group)
        assert TEMPO[1:] in part
        assert bytes([0xC1, 33]) in part
        assert part.count(END[1:]) == 4
        assert MidiFile(part, "part").groups() == (group,)


def test_parts_are_as_long_as_the_whole():
    """Whatever is left out, and in every track."""
    lengths = [sum(one.time for one in track) for track in mido.MidiFile(file=io.BytesIO(SONG)).tracks]
    for group in ("drums", "bass", "other"):
        part = mido.MidiFile(file=io.BytesIO(MidiFile(SONG, "song").part(group)))
        assert [sum(one.time for one in track) for track in part.tracks] == lengths
        assert part.ticks_per_beat == 96


def test_without_mido_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mido", None)
    with pytest.raises(MissingExtraError, match=r"unbraid\[midi\]"):
        MidiFile(SONG, "song")


def test_a_channel_may_change_its_program_on_the_way():
    track = program(2, 0) + note(2, 60) + program(2, 38) + note(2, 41) + program(2, 40) + note(2, 62) + END
    file = MidiFile(midi_file(track, kind=0), "song")
    assert file.groups() == ("bass", "other")
    assert notes(file.part("bass")) == [(2, 41)]
    assert notes(file.part("other")) == [(2, 60), (2, 62)]


def test_drums_are_drums_whatever_their_program():
    file = MidiFile(midi_file(program(9, 33) + note(9, 36) + END), "song")
    assert file.groups() == ("drums",)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_midi_are_refused(content):
    with pytest.raises(DataError, match="not a Standard MIDI File"):
        MidiFile(content, "'x.mid'")


@given(st.integers(14, len(SONG) - 1))
def test_files_cut_short_are_refused_or_lack_tracks(length):
    with suppress(DataError):
        MidiFile(SONG[:length], "'x.mid'").groups()


def test_without_fluidsynth_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DataError, match="fluidsynth is not installed"):
        list(prepare_midi(tmp_path, tmp_path / "out"))


@pytest.fixture
def fake_fluidsynth(tmp_path, monkeypatch):
    """Stands for the synthesiser where it is not installed: copies a sound to where the rendering is expected."""
    soundfile.write(tmp_path / "sound.wav", np.full((800, 2), 0.25), 8000, subtype="FLOAT")
    program = tmp_path / "bin" / "fluidsynth"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        'while [ "$1" != "-F" ]; do shift; done\n'
        f'if grep -q broken "$3"; then echo "error: no sound font" >&2; exit 0; fi\ncp "{tmp_path}/sound.wav" "$2"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    (tmp_path / "font.sf2").write_text("fine")
    (tmp_path / "midi").mkdir()
    (tmp_path / "midi" / "song.mid").write_bytes(SONG)
    (tmp_path / "midi" / "beat.mid").write_bytes(midi_file(note(9, 36) + END))
    return tmp_path


def test_songs_become_folders_of_stems(fake_fluidsynth):
    out = fake_fluidsynth / "out"
    arguments = (fake_fluidsynth / "midi", out, fake_fluidsynth / "font.sf2", 8000)
    events = [event for event in prepare_midi(*arguments) if isinstance(event, Prepared)]
    assert not any(event.skipped for event in events)
    assert sorted(path.name for path in (out / "song").iterdir()) == ["bass.flac", "drums.flac", "other.flac"]
    assert [path.name for path in (out / "beat").iterdir()] == ["drums.flac"]
    assert sorted(path.name for path in out.iterdir()) == ["beat", "song"]
    again = [event for event in prepare_midi(*arguments) if isinstance(event, Prepared)]
    assert all(event.skipped for event in again)
    # Three stems at 0.25 sum up to 0.75, and that is brought to 0.9.
    samples, _ = soundfile.read(out / "song" / "bass.flac")
    assert samples.max() == pytest.approx(0.3, abs=1e-3)
    assert open_dataset(out, "train").layout == "songs"


def test_parts_that_are_not_there_can_be_silence(fake_fluidsynth):
    list(prepare_midi(fake_fluidsynth / "midi", fake_fluidsynth / "out", fake_fluidsynth / "font.sf2", 8000, True))
    samples, _ = soundfile.read(fake_fluidsynth / "out" / "beat" / "bass.flac")
    assert samples.shape == (800, 2)
    assert not samples.any()


def test_what_fluidsynth_says_is_passed_on_and_nothing_stays(fake_fluidsynth):
    font = fake_fluidsynth / "font.sf2"
    font.write_text("broken")
    out = fake_fluidsynth / "out"
    failed = [event for event in prepare_midi(fake_fluidsynth / "midi", out, font, 8000) if isinstance(event, Failed)]
    assert len(failed) == 2
    assert "no sound font" in failed[0].message
    assert not out.exists() or not list(out.iterdir())


@pytest.mark.parametrize("what", ["font", "files"])
def test_what_is_not_there_is_named(fake_fluidsynth, what):
    font = fake_fluidsynth / ("other.sf2" if what == "font" else "font.sf2")
    folder = fake_fluidsynth / ("midi" if what == "font" else "bin")
    with pytest.raises(DataError, match=r"other\.sf2" if what == "font" else r"no \.mid files"):
        list(prepare_midi(folder, fake_fluidsynth / "out", font))


@pytest.mark.skipif(not HAS_FLUIDSYNTH, reason="fluidsynth and a sound font are not installed")
def test_stems_add_up_to_the_song(tmp_path):
    (tmp_path / "midi").mkdir()
    (tmp_path / "midi" / "song.mid").write_bytes(SONG)
    font = next(Path(font) for font in rendering.SOUND_FONTS if Path(font).is_file())
    fluidsynth = shutil.which("fluidsynth")
    whole = rendering._render(SONG, "song", fluidsynth, font, 22050)
    assert not [e for e in prepare_midi(tmp_path / "midi", tmp_path / "out", font, 22050) if isinstance(e, Failed)]
    stems = [soundfile.read(tmp_path / "out" / "song" / f"{stem}.flac")[0].T for stem in ("drums", "bass", "other")]
    assert all(np.abs(stem).max() > 0.01 for stem in stems)
    total = sum(stems)[:, : whole.shape[1]]
    gain = np.vdot(total, whole) / np.vdot(total, total)
    # But for one short transient, which fluidsynth 2.3 makes differently, they are the same to the last bit or two.
    assert np.sum((gain * total - whole[:, : total.shape[1]]) ** 2) < 0.001 * np.sum(whole**2)
