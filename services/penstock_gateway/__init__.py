"""The gateway: admits, queues, balances and streams generation requests over the model replicas."""
