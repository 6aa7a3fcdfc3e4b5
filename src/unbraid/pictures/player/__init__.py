"""The player of the web page and of reports: one script, one style, and the pictures that it draws."""
