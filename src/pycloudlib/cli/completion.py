"""`pycloudlib completion`: shell completion of commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from pycloudlib.cli.examples import examples

SHELLS = ("bash", "zsh", "fish")


@click.command(
    epilog=examples(
        "mkdir -p ~/.local/share/bash-completion/completions ~/.zfunc ~/.config/fish/completions",
        "pycloudlib completion bash > ~/.local/share/bash-completion/completions/pycloudlib",
        "pycloudlib completion zsh > ~/.zfunc/_pycloudlib",
        "pycloudlib completion fish > ~/.config/fish/completions/pycloudlib.fish",
    )
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    bash needs the package bash-completion; zsh needs ~/.zfunc in fpath before compinit. Alternatively, evaluate the
    script in the shell's startup file: eval "$(pycloudlib completion bash)".
    """
    root = context.find_root()
    completion_class = get_completion_class(shell)
    assert completion_class is not None  # noqa: S101  (click knows all of SHELLS)
    name = root.info_name or "pycloudlib"
    click.echo(completion_class(root.command, {}, name, f"_{name}_COMPLETE".upper()).source())
