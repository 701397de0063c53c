"""Stand-ins that tests share; each passes for the real thing over the real contract."""
