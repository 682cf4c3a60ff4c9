"""Shell completion scripts, generated from the parser so that they stay in step with it."""

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
    # Actions of a command come first, because their patterns are more specific.
    named = sorted(words.items(), key=lambda entry: " " not in entry[0])
    cases = [f"    '{name}'*) words='{' '.join(w)}' ;;" for name, w in named if " " in name]
    cases += [f"    '{name} '*) words='{' '.join(w)}' ;;" for name, w in named if " " not in name]
    lines = "\n".join(cases)
    first = " ".join(dict.fromkeys(name.split()[0] for name in words))
    return f"""\
_ragkit() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" words
  case "${{COMP_WORDS[1]}} ${{COMP_WORDS[2]}}" in
{lines}
    *) words='{first}' ;;
  esac
{_second_words(words)}  if [ "$COMP_CWORD" -eq 1 ]; then words='{first} --help --version'; fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _ragkit ragkit
"""


def _second_words(words: Mapping[str, list[str]]) -> str:
    """Return a line for each command with actions, which are its possible second words."""
    return "".join(
        f'  if [ "$COMP_CWORD" -eq 2 ] && [ "${{COMP_WORDS[1]}}" = {name} ]; then '
        f"words='{' '.join(actions)}'; fi\n"
        for name, actions in _actions(words).items()
    )


def _actions(words: Mapping[str, list[str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in words:
        command, _, action = name.partition(" ")
        if action:
            found.setdefault(command, []).append(action)
    return found


def _fish(words: Mapping[str, list[str]]) -> str:
    first = " ".join(dict.fromkeys(name.split()[0] for name in words))
    lines = [f"complete -c ragkit -n __fish_use_subcommand -f -a '{first}'"]
    for command, actions in _actions(words).items():
        condition = f"-n '__fish_seen_subcommand_from {command}'"
        lines.append(f"complete -c ragkit {condition} -f -a '{' '.join(actions)}'")
    for name, options in words.items():
        seen = "; and ".join(f"__fish_seen_subcommand_from {part}" for part in name.split())
        condition = f"-n '{seen}'"
        for option in options:
            if option.startswith("--"):
                lines.append(f"complete -c ragkit {condition} -l {option[2:]}")
            elif option.startswith("-"):
                lines.append(f"complete -c ragkit {condition} -s {option[1:]}")
            else:
                lines.append(f"complete -c ragkit {condition} -a {option}")
    return "\n".join(lines) + "\n"
