"""An artifact version, opened: manifest, components, sessions."""
