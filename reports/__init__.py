"""The report schema and its renderings: JSON, Markdown, HTML, JUnit."""
