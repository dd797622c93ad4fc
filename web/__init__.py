"""How are files used in JavaScript? the ES module and the page; nothing here is Python."""
