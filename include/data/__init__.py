"""The possum table: reading, checking, features."""
