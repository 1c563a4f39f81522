"""What every program needs of its run folder: configuration, files, provenance, exits."""
