"""Reports as terminal tables, Markdown and HTML."""
