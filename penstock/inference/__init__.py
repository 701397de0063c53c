"""Generated code of the inference contract."""
