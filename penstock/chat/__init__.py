"""The conversation behind `penstock chat`.

`conversation` holds what was said, `commands` reads what begins with a slash, `reader` brings lines from a terminal or
a pipe, `screen` shows, `interrupt` is Ctrl-C, and `session` holds these together.
"""
