"""The store: SQLAlchemy 2 with asyncio; SQLite in a file by default."""
