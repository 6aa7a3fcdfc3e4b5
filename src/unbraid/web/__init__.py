"""The web page and its HTTP API: uploads, a queue of separations, and a player of their stems."""
