"""Which estimate is which speaker, from chunk to chunk over a whole recording."""
