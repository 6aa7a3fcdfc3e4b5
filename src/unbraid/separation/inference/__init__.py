"""From chunks of a recording to calls of a model and back."""
