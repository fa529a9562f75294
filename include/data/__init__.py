"""The table: reading, checking, splitting, features."""
