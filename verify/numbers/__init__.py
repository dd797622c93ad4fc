"""How far apart, is it a tie?  Knows no component."""
