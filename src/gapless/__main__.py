"""`python -m gapless` is the `gapless` command."""

from gapless.cli.main import main

raise SystemExit(main())
