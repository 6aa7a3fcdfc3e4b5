"""The super-resolution network of SFSRNet, around any separator."""
