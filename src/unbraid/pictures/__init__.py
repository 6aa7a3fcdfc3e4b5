"""Pictures with matplotlib (extra `report`), from plain data."""
