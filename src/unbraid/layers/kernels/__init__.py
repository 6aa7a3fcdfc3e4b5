"""Fast forms of layers; each has a slow twin in plain PyTorch and a test that they agree."""
