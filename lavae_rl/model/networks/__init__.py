"""The networks of LAVAE, by family."""
