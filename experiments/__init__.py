"""Published runs as YAML files, and the command line that runs them."""
