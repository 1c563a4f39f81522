"""Run folders and programs: configuration, files, provenance, exits."""
