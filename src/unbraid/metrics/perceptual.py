"""Speech quality and intelligibility by the libraries everybody reports: pystoi and pesq, the extra `quality`.

Both take mono signals, (..., sample), score one after the other on the CPU, and know nothing of music. Where they have
no answer (a silent reference, too little speech) the score is nan.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Literal

import torch

from unbraid.axes import Float, Tensor
from unbraid.errors import ConfigError, MissingExtraError
from unbraid.metrics.pairs import check_pair
from unbraid.options import check_option

Band = Literal["wide", "narrow"]


def stoi(
    estimate: Float[Tensor, "*axes sample"],
    reference: Float[Tensor, "*axes sample"],
    sample_rate: int,
    extended: bool = False,
) -> Float[Tensor, "*axes"]:
    """Short-time objective intelligibility, up to 1 (C. Taal et al. 2011); `extended` is ESTOI (Jensen and Taal 2016).

    Any rate, which pystoi brings to 10 kHz. Raises MissingExtraError without pystoi.
    """
    measure = _load("pystoi", "STOI").stoi

    def one(found: Tensor, true: Tensor) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            try:
                return measure(true.numpy(), found.numpy(), sample_rate, extended=extended)
            except (RuntimeWarning, ValueError):
                # Fewer than 30 frames of 26 ms in which there is speech.
                return torch.nan

    return _each(one, estimate, reference)


def pesq(
    estimate: Float[Tensor, "*axes sample"],
    reference: Float[Tensor, "*axes sample"],
    sample_rate: int,
    band: Band = "wide",
) -> Float[Tensor, "*axes"]:
    """Perceptual evaluation of speech quality, a MOS from about 1 to 4.6 (ITU-T P.862, wide band P.862.2).

    The wide band takes 16 kHz only, the narrow one 8 or 16 kHz: resample before. Raises MissingExtraError without pesq.
    """
    check_option("band", band, Band)
    if sample_rate != 16_000 and not (band == "narrow" and sample_rate == 8_000):
        raise ConfigError(
            f"PESQ in the {band} band does not take {sample_rate} Hz: resample to 16000 Hz"
            + (" or 8000 Hz" if band == "narrow" else "")
        )
    module = _load("pesq", "PESQ")
    mode = "wb" if band == "wide" else "nb"

    def one(found: Tensor, true: Tensor) -> float:
        try:
            return module.pesq(sample_rate, true.numpy(), found.numpy(), mode)
        except (module.NoUtterancesError, module.BufferTooShortError):
            return torch.nan

    return _each(one, estimate, reference)


def _each(one: Callable[[Tensor, Tensor], float], estimate: Tensor, reference: Tensor) -> Tensor:
    """The score of every signal; nan where either is silent all along."""
    check_pair(estimate, reference)
    signals = (each.detach().cpu().double().reshape(-1, each.shape[-1]) for each in (estimate, reference))
    scores = [
        one(found, true) if found.any() and true.any() else torch.nan for found, true in zip(*signals, strict=True)
    ]
    return torch.tensor(scores, dtype=torch.float64).reshape(reference.shape[:-1])


def _load(package: str, purpose: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingExtraError(package, "quality", purpose) from error
