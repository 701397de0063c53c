"""Answers that were given before: what may be shared, how it is asked for, and what is kept."""
