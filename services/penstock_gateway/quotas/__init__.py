"""How much may be under way, and how much a tenant may use a minute."""
