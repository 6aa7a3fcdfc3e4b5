"""Stems as files: names, records, remixes, and batches of recordings."""
