"""Whether a stored answer is trusted enough to be served: decided, bounded, and learned from labels."""
