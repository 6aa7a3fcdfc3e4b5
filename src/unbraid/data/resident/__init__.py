"""Training examples drawn where the model runs: all recordings on the device, whole batches at once."""
