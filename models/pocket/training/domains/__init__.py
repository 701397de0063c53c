"""What the pocket model knows, one module a domain; each offers `relations()`."""
