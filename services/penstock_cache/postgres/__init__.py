"""The database that several instances share: Postgres with pgvector."""
