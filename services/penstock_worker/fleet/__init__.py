"""The fleet: which replicas there are to be, which there are, and the directory that tells the others."""
