"""Optimisers, schedules and what a batch costs."""
