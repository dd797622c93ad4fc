"""How are files used in a page? the module for browsers and Node, the page, its server."""
