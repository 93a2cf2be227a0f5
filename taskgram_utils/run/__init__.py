"""A run: its parameters, its tables, and which table is made from which."""
