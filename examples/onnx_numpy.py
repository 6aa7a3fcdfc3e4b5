"""Separates a recording with an ONNX file, NumPy and onnxruntime; neither PyTorch nor unbraid is imported.

unbraid models export cinematic --to onnx --out cinematic.onnx
python onnx_numpy.py cinematic.onnx film.wav stems

For models of SFC, whose files take the STFT of the mixture, (batch, channel, real and imaginary part, bin, frame), and
for those that take the mixture itself, (batch, channel, sample), such as `speech`.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile


def stft(signal, n_fft):
    """Spectra of frames a quarter of a window apart, centred; (channel, frequency, frame)."""
    hop = n_fft // 4
    padded = np.pad(signal, ((0, 0), (n_fft // 2, n_fft // 2)), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft, axis=-1)[:, ::hop]
    return np.fft.rfft(frames * hann(n_fft)).transpose(0, 2, 1)


def inverse(spectrum, n_fft, length):
    """Frames weighed by the window, added, and divided by what the squared windows add up to."""
    hop, window = n_fft // 4, hann(n_fft)
    frames = np.fft.irfft(spectrum.transpose(0, 2, 1), n_fft) * window
    summed = np.zeros((len(frames), (frames.shape[1] - 1) * hop + n_fft))
    weight = np.zeros(summed.shape[1])
    for index in range(frames.shape[1]):
        summed[:, index * hop : index * hop + n_fft] += frames[:, index]
        weight[index * hop : index * hop + n_fft] += window**2
    whole = summed / np.maximum(weight, 1e-8)
    return np.pad(whole, ((0, 0), (0, hop)))[:, n_fft // 2 : n_fft // 2 + length]


def hann(n_fft):
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)


def whole(session, mixture):
    """(source, channel, sample)"""
    (estimates,) = session.run(None, {"mixture": mixture[None].astype(np.float32)})
    return estimates[0]


def between_transforms(session, mixture):
    """The same by a program that takes and gives spectra."""
    n_fft = 2 * (session.get_inputs()[0].shape[3] - 1)
    spectrum = stft(mixture, n_fft)
    scale = np.sqrt(np.mean(np.abs(spectrum) ** 2))
    parts = np.stack([spectrum.real, spectrum.imag], axis=1)[None] / scale
    (estimates,) = session.run(None, {"spectrum": parts.astype(np.float32)})
    return [inverse(scale * (part[:, 0] + 1j * part[:, 1]), n_fft, mixture.shape[1]) for part in estimates[0]]


def main(model, recording, folder):
    for path in (model, recording):
        if not Path(path).is_file():
            sys.exit(f"error: there is no file {path}")
    session = onnxruntime.InferenceSession(model)
    spec = json.loads(session.get_modelmeta().custom_metadata_map["unbraid"])["spec"]
    samples, rate = soundfile.read(recording, always_2d=True)
    if rate != spec["sample_rate"] or samples.shape[1] != spec["num_channels"]:
        sys.exit(f"this model takes {spec['num_channels']} channel(s) at {spec['sample_rate']} Hz")
    separate = whole if session.get_inputs()[0].name == "mixture" else between_transforms
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, stem in zip(spec["sources"], separate(session, samples.T), strict=True):
        soundfile.write(Path(folder, f"{name}.wav"), stem.T, rate, subtype="FLOAT")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: python onnx_numpy.py MODEL.onnx RECORDING FOLDER")
    main(*sys.argv[1:])
