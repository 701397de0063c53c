"""A further node of the Ray that a worker process heads: replicas are placed on it."""
