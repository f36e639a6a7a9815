"""float64 references of every kernel."""
