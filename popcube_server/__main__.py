"""`python -m popcube_server` is the same as `popcube-server`."""

import sys

from popcube_server.cli import main

sys.exit(main())
