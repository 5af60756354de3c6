"""The vocabulary of the product: frozen values, standard library only, no I/O."""
