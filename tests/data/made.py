"""Small data sets written for a test: songs with stems, pools of sounds, utterances."""

import numpy as np
import soundfile

from unbraid.data.items import Clip, Dataset, Item
from unbraid.models.contract import ModelSpec

RATE = 8000


def spec(sources=("drums", "vocals"), channels=2, rate=RATE, exchangeable=False):
    return ModelSpec(
        sample_rate=rate, num_channels=channels, sources=tuple(sources), exchangeable=exchangeable, chunk_seconds=2.0
    )


def write_clip(path, samples, rate=RATE):
    """(channel, sample) as a float WAV, so that what is read is what was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples.T, rate, subtype="FLOAT")
    return Clip(path, samples.shape[1], rate, samples.shape[0])


def tone(hz, seconds, channels=2, rate=RATE, amplitude=0.1):
    """A tone whose right channel is half as loud, turned up slowly so that no two places are the same."""
    time = np.arange(round(seconds * rate)) / rate
    sound = amplitude * (1 + time / seconds) * np.sin(2 * np.pi * hz * time)
    return np.stack([sound / (channel + 1) for channel in range(channels)]).astype(np.float32)


def dataset(root, items, sources, exchangeable=False):
    return Dataset("made", root, "train", tuple(sources), exchangeable, tuple(items))


def songs(root, count=3, seconds=3.0, missing=()):
    """Songs of drums, bass and vocals, a tone each; `missing` are (song, source) that are not there."""
    items = []
    for song in range(count):
        sources = {}
        for number, source in enumerate(("drums", "bass", "vocals")):
            if (song, source) not in missing:
                samples = tone(200 * (number + 1) + 10 * song, seconds)
                sources[source] = (write_clip(root / f"{song}/{source}.wav", samples),)
        items.append(Item(f"song{song}", sources))
    return dataset(root, items, ("drums", "bass", "vocals"))


def utterances(root, speakers=4, takes=2, noise=False):
    """Each speaker has a pitch; takes are 1 and 1.5 s long. With noise, two sounds of the source `noise` besides."""
    items = []
    for speaker in range(speakers):
        for take in range(takes):
            clip = write_clip(root / f"{speaker}-{take}.wav", tone(120 + 60 * speaker, 1 + 0.5 * take, channels=1))
            items.append(Item(f"{speaker}-{take}", {"speech": (clip,)}, None, {"speaker": f"s{speaker}"}))
    if noise:
        generator = np.random.default_rng(0)
        for number in range(2):
            samples = (0.02 * generator.standard_normal((1, 4 * RATE))).astype(np.float32)
            items.append(Item(f"noise{number}", {"noise": (write_clip(root / f"noise{number}.wav", samples),)}))
    return dataset(root, items, ("speech", "noise") if noise else ("speech",), exchangeable=True)
