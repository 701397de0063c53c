"""Model workers: the fleet, its replicas, and the engine that runs in each."""
