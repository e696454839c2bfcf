"""Several processes behind one listening socket: a supervisor that owns the books, and workers that serve calls."""
