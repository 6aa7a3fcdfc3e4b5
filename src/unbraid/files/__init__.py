"""Files under their safe names: written whole or not at all; whoever writes a file uses this."""
