"""Generated code of the types contract."""
