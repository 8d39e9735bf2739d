"""One module for each subcommand; `popcube_server.cli` chooses and imports just that one."""
