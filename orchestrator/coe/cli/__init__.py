"""The `coe` command.

Commands load when they are used: `coe --help` imports none of them. A command of coe is one line in
`_commands.COMMANDS`; a plugin adds one by an entry point of the group `coe.commands`. Either way the target
must be a

    app = typer.Typer(add_completion=False, rich_markup_mode=None)

With a single `@app.command()` and no callback it becomes `coe NAME …`; with several commands, or with a
callback, `coe NAME COMMAND …`. Such a module

- may import what it likes, since it is imported only when it runs;
- takes its configuration through `coe.cli._options` (`ConfigOption`, `load_config`, `registry_for`);
- raises errors of `coe.errors` and lets them pass: `main` prints them without a traceback and picks the
  exit code;
- writes results to stdout and everything else to stderr, and offers `--json` (`JsonOption`) where it reads.

Exit codes are those of `ExitCode`.
"""

from coe.cli._errors import ExitCode
from coe.cli._main import main

__all__ = ["ExitCode", "main"]
