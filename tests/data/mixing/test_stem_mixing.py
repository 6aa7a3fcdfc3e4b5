"""Mixtures of named sources: independent or of one song, dropped, levelled, as pieces from pools."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.made import RATE, dataset, songs, spec, tone, write_clip
from unbraid.data.combining import join_datasets, rename_sources
from unbraid.data.items import Item
from unbraid.data.mixing.drawing import StemMixing, build_drawer, draw_example
from unbraid.data.mixing.levels import Level, loudness_lufs, measure_db
from unbraid.data.mixing.stem_mixing import SourceDrawing
from unbraid.errors import ConfigError, DataError

THREE = spec(("drums", "bass", "vocals"))
RECORDED = Level(measure="as-recorded")


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    return songs(tmp_path_factory.mktemp("album"))


def drawn(data, mixing, model=THREE, count=40, seed=0):
    drawer = build_drawer(data, mixing, model)
    return [drawer.draw(seed, index) for index in range(count)]


def level_db(samples, measure="rms"):
    return measure_db(samples.numpy(), measure, RATE)


def pitch_hz(samples):
    spectrum = np.abs(np.fft.rfft(samples.numpy()[0] * np.hanning(samples.shape[-1])))
    return float(spectrum.argmax() * RATE / samples.shape[-1])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**40), index=st.integers(0, 2**40), coherent=st.sampled_from([0.0, 0.5, 1.0]))
def test_an_example_is_a_function_of_seed_and_number(album, seed, index, coherent):
    mixing = StemMixing(segment_seconds=0.5, coherent_probability=coherent)
    drawer = build_drawer(album, mixing, THREE)
    drawer.draw(seed + 1, index)
    first, again = drawer.draw(seed, index), draw_example(album, mixing, THREE, seed, index)
    assert first.mixture.shape == (2, 4000)
    assert first.references.shape == (3, 2, 4000)
    assert torch.equal(first.references, again.references)
    assert torch.equal(first.mixture, again.mixture)
    torch.testing.assert_close(first.mixture, first.references.sum(0), atol=1e-4, rtol=1e-4)
    assert not torch.equal(drawer.draw(seed, index + 1).mixture, first.mixture)
    assert first.present.all()


def test_sources_are_dropped_as_often_as_asked_and_never_all(album):
    mixing = StemMixing(segment_seconds=0.05, drawing=SourceDrawing(drop_probability=0.3))
    examples = drawn(album, mixing, count=600)
    silent = torch.stack([example.references.abs().amax(dim=(1, 2)) == 0 for example in examples])
    assert not silent.all(dim=1).any()
    # Given that not all three are dropped, one is with probability (0.3 - 0.3^3) / (1 - 0.3^3).
    assert silent.float().mean().item() == pytest.approx(0.273 / 0.973, abs=0.035)
    assert all(example.present.all() for example in examples)


def test_levels_are_those_of_sfc(album):
    mixing = StemMixing(segment_seconds=0.3, drawing=SourceDrawing(drop_probability=0.0))
    levels = [level_db(reference) for example in drawn(album, mixing, count=100) for reference in example.references]
    assert -10.01 <= min(levels) < -9
    assert 9 < max(levels) <= 10.01
    assert np.mean(levels) == pytest.approx(0, abs=1.2)


def test_stems_come_from_different_songs_and_moments(album):
    mixing = StemMixing(segment_seconds=0.5, drawing=SourceDrawing(drop_probability=0.0))
    pairs = set()
    for example in drawn(album, mixing, count=60):
        pairs.add(tuple(round((pitch_hz(example.references[n]) - 200 * (n + 1)) / 10) for n in range(2)))
    assert len(pairs) == 9


def test_coherent_stems_are_one_moment_of_one_song_at_its_levels(album):
    drawing = SourceDrawing(drop_probability=0.0, level=RECORDED)
    mixing = StemMixing(segment_seconds=0.5, drawing=drawing, coherent_probability=1.0)
    songs_seen = set()
    for example in drawn(album, mixing, count=30):
        songs_seen.add(
            tuple(round((pitch_hz(reference) - 200 * (n + 1)) / 10) for n, reference in enumerate(example.references))
        )
        loudness = [level_db(reference) for reference in example.references]
        assert max(loudness) - min(loudness) < 0.2
    assert songs_seen == {(n, n, n) for n in range(3)}


def test_what_a_song_lacks_is_not_present_and_what_nobody_has_never_is(tmp_path):
    album = songs(tmp_path, missing={(0, "bass")})
    model = spec(("drums", "bass", "vocals", "piano"))
    coherent = StemMixing(segment_seconds=0.2, coherent_probability=1.0, drawing=SourceDrawing(drop_probability=0.0))
    seen = {tuple(example.present.tolist()) for example in drawn(album, coherent, model)}
    assert seen == {(True, True, True, False), (True, False, True, False)}
    for example in drawn(album, StemMixing(segment_seconds=0.2), model, count=5):
        assert example.present.tolist() == [True, True, True, False]
        assert not example.references[3].any()


def test_a_model_of_one_source_hears_the_others_in_the_mixture(album):
    mixing = StemMixing(segment_seconds=0.2, drawing=SourceDrawing(drop_probability=0.0))
    example = draw_example(album, mixing, spec(("vocals",)), 0, 0)
    whole = draw_example(album, mixing, THREE, 0, 0)
    assert torch.equal(example.mixture, whole.mixture)
    assert torch.equal(example.references[0], whole.references[2])


def test_mix_audio_sums_two_pieces_of_the_same_source_as_recorded(album):
    drawing = SourceDrawing(level=RECORDED, drop_probability=0.0, num_pieces=(2, 2), weights="seconds")
    two = 0
    for example in drawn(album, StemMixing(segment_seconds=1.0, drawing=drawing), count=20):
        spectrum = np.abs(np.fft.rfft(example.references[0, 0].numpy() * np.hanning(RATE)))
        peaks = {hz for hz in (200, 210, 220) if spectrum[hz] > 0.2 * spectrum.max()}
        assert peaks
        two += len(peaks) == 2
    # Two of three songs, drawn with replacement.
    assert 8 <= two <= 19


def test_mono_becomes_stereo_and_stereo_mono(tmp_path):
    items = [
        Item("a", {"drums": (write_clip(tmp_path / "m.wav", tone(200, 1.0, channels=1)),)}),
        Item("b", {"vocals": (write_clip(tmp_path / "s.wav", tone(300, 1.0, channels=2)),)}),
    ]
    data = dataset(tmp_path, items, ("drums", "vocals"))
    mixing = StemMixing(segment_seconds=0.5, drawing=SourceDrawing(level=RECORDED, drop_probability=0.0))
    stereo = draw_example(data, mixing, spec(("drums", "vocals")), 0, 0).references
    assert torch.equal(stereo[0, 0], stereo[0, 1])
    torch.testing.assert_close(stereo[1, 0], 2 * stereo[1, 1])
    mono = draw_example(data, mixing, spec(("drums", "vocals"), channels=1), 0, 0).references
    torch.testing.assert_close(mono[1, 0], stereo[1].mean(0))


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Pools of three data sets, as for films: short talk, long music, short effects of two kinds."""
    root = tmp_path_factory.mktemp("film")

    def pool(source, hz, seconds, count):
        items = [
            Item(f"{n}", {source: (write_clip(root / source / f"{n}.wav", tone(hz + n, seconds, 1)),)})
            for n in range(count)
        ]
        return dataset(root / source, items, (source,))

    talk = rename_sources(pool("speech", 300, 0.6, 5), {"speech": "dialogue"})
    return join_datasets(
        [talk, pool("music", 500, 5.0, 2), pool("effects", 700, 0.4, 5), pool("background", 900, 3, 2)]
    )


FILM = spec(("dialogue", "music", "effects"), channels=1)


def film_mixing(**kwargs):
    def lufs(mean):
        return Level(mean_db=mean, spread_db=2.0, measure="lufs")

    kept = {"drop_probability": 0.0}
    return StemMixing(
        segment_seconds=3.0,
        drawings={
            "dialogue": SourceDrawing(level=lufs(-17.0), num_pieces=(2, 3), arrangement="in-turn", **kept),
            "music": SourceDrawing(level=lufs(-24.0), **kept),
            "effects": SourceDrawing(level=lufs(-21.0), num_pieces=(3, 5), piece_seconds=(0.1, 0.3), **kept),
            "background": SourceDrawing(level=lufs(-29.0), part_of="effects", **kept),
        },
        **kwargs,
    )


def test_cinematic_mixtures_are_drawn_from_pools_of_several_roots(film):
    found = []
    for example in drawn(film, film_mixing(), FILM, count=30):
        assert example.present.all()
        torch.testing.assert_close(example.references.sum(0), example.mixture)
        found.append([loudness_lufs(reference.numpy(), RATE) for reference in example.references])
    low, high = np.min(found, axis=0), np.max(found, axis=0)
    assert (low[:2] >= [-19.05, -26.05]).all()
    assert (high[:2] <= [-14.95, -21.95]).all()
    # The background brings blocks to the mean that are gated out of the effects alone.
    assert -29.1 <= low[2] <= high[2] <= -17
    assert (high - low > 2).all()


def test_events_are_several_and_talk_does_not_overlap(film):
    spans = []
    for example in drawn(film, film_mixing(), FILM, count=20):
        active = example.references[0, 0].abs() > 0
        spans.append(active.float().mean().item() * 3.0 / 0.6)
        pieces = round(spans[-1])
        assert spans[-1] == pytest.approx(pieces, abs=0.05)
    assert {round(span) for span in spans} == {2, 3}


def test_the_mixture_can_have_a_level(film):
    mixing = film_mixing(mixture_level=Level(mean_db=-27.0, measure="lufs"))
    for example in drawn(film, mixing, FILM, count=3):
        assert loudness_lufs(example.mixture.numpy(), RATE) == pytest.approx(-27, abs=0.05)
        torch.testing.assert_close(example.references.sum(0), example.mixture, atol=1e-5, rtol=1e-4)


def test_silence_stays_silent(tmp_path):
    items = [
        Item("a", {"drums": (write_clip(tmp_path / "d.wav", np.zeros((2, RATE), np.float32)),)}),
        Item("b", {"vocals": (write_clip(tmp_path / "v.wav", tone(300, 1.0)),)}),
    ]
    data = dataset(tmp_path, items, ("drums", "vocals"))
    for example in drawn(data, StemMixing(segment_seconds=0.5), spec(), count=5):
        assert not example.references[0].any()
        assert example.mixture.isfinite().all()


def test_sources_can_be_summed_under_one_name(album):
    data = rename_sources(album, {"drums": "accompaniment", "bass": "accompaniment"})
    assert data.sources == ("accompaniment", "vocals")
    assert [len(clips) for clips in data.items[0].sources.values()] == [2, 1]
    with pytest.raises(DataError, match="piano"):
        rename_sources(album, {"piano": "keys"})


def test_joined_data_sets_keep_their_sources_and_tell_items_apart(film, album):
    assert film.sources == ("dialogue", "music", "effects", "background")
    names = [item.name for item in film.items]
    assert len(set(names)) == len(names) == 14
    assert join_datasets([album]).items == album.items
    with pytest.raises(DataError, match="no data set"):
        join_datasets([])


def test_what_does_not_go_together_is_refused(album):
    with pytest.raises(DataError, match="dialogue"):
        build_drawer(album, StemMixing(), FILM)
    with pytest.raises(ConfigError, match="piano"):
        build_drawer(album, StemMixing(drawings={"piano": SourceDrawing()}), THREE)
    for wrong in ({"drop_probability": 1.0}, {"num_pieces": (0, 1)}, {"piece_seconds": (2.0, 1.0)}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            SourceDrawing(**wrong)
    with pytest.raises(ConfigError, match="coherent_probability"):
        StemMixing(coherent_probability=2.0)
