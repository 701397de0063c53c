"""One model over several processes: who holds what, how they talk, and what ends them together."""
