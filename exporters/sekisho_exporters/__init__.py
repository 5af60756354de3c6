"""Exporters: what Sekisho knows, in the words of other systems. They import the model alone."""
