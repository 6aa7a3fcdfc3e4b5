"""Beside other packages and runtimes: the same outputs, and at which cost."""
