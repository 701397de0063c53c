"""Generated code of the admin contract."""
