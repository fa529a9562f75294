"""What each task does: read, call pure code, write. One module per DAG."""
