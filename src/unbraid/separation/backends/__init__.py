"""What runs a model's core in the place of PyTorch."""
