"""An OpenAI-compatible server that plays scripts and keeps a record of what it produced; see README.md."""
