"""Lineage: what each task read and wrote, told as OpenLineage events, and the graph that they form."""
