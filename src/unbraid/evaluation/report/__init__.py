"""HTML pages about separated sounds and their scores."""
