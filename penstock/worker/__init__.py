"""Generated code of the worker contract."""
