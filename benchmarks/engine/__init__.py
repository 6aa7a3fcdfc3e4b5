"""What the engine around a model costs and keeps: memory, seams, live sound, the web page, many files."""
