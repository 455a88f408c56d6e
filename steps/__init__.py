"""How each sentence is checked, by topic; what must hold stands in ``features/``."""
