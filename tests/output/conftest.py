"""The sounds of the audio tests serve here as well."""

from tests.audio.conftest import noise, tone

__all__ = ["noise", "tone"]
