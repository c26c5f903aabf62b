"""The store on PostgreSQL: psycopg 3 and its pool."""
