"""Generated code of the fleet contract."""
