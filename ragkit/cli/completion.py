"""Shell completion scripts, made from the parser so that they cannot fall behind it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping


def script(shell: str, commands: Mapping[str, argparse.ArgumentParser]) -> str:
    """Return a completion script.

    Args:
        shell: `bash`, `zsh` or `fish`.
        commands: Each command's parser, by name.
    """
    words = _words(commands)
    if shell == "fish":
        return _fish(words)
    bash = _bash(words)
    return bash if shell == "bash" else f"autoload -U +X bashcompinit && bashcompinit\n{bash}"


def _words(commands: Mapping[str, argparse.ArgumentParser]) -> Mapping[str, list[str]]:
    """Return each command's options and choices."""
    found: dict[str, list[str]] = {}
    for name, command in commands.items():
        words: list[str] = []
        for action in command._actions:  # pyright: ignore[reportPrivateUsage] (no public list)
            words += action.option_strings
            if not action.option_strings and action.choices is not None:
                words += [str(choice) for choice in action.choices]
        found[name] = words
    return found


def _bash(words: Mapping[str, list[str]]) -> str:
    cases = "\n".join(f"    {name}) words='{' '.join(w)}' ;;" for name, w in words.items())
    return f"""\
_ragkit() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" words
  case "${{COMP_WORDS[1]}}" in
{cases}
    *) words='{" ".join(words)}' ;;
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then words='{" ".join(words)} --help --version'; fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _ragkit ragkit
"""


def _fish(words: Mapping[str, list[str]]) -> str:
    lines = [
        f"complete -c ragkit -n __fish_use_subcommand -f -a '{' '.join(words)}'",
    ]
    for name, options in words.items():
        condition = f"-n '__fish_seen_subcommand_from {name}'"
        for option in options:
            if option.startswith("--"):
                lines.append(f"complete -c ragkit {condition} -l {option[2:]}")
            elif option.startswith("-"):
                lines.append(f"complete -c ragkit {condition} -s {option[1:]}")
            else:
                lines.append(f"complete -c ragkit {condition} -a {option}")
    return "\n".join(lines) + "\n"
