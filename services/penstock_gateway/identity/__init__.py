"""Who a client is: keys, tokens, certificates, and what its tenant may do."""
