"""How fast, and against what: contestants in turns, in processes of their own."""
