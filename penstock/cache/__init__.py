"""Generated code of the cache contract."""
