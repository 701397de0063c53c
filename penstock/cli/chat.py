"""`penstock chat`: a conversation at the terminal, or through a pipe."""

import sys
from dataclasses import dataclass
from typing import cast

from penstock.chat.conversation import Conversation
from penstock.chat.reader import is_interactive, pipe_line_reader, terminal_line_reader
from penstock.chat.screen import Screen
from penstock.chat.session import ChatSession
from penstock.cli.errors import FAILED, CommandError
from penstock.cli.gateway import GatewayAccess, choose_model, explained, gateway_address, open_client
from penstock.client import CacheOptions, Client, ConstraintOptions, GenerationOptions, Model, PenstockError
from penstock.local.paths import StateDir
from penstock.local.record import load_state


@dataclass(frozen=True, slots=True)
class ChatCommand:
    """What was asked for; None: the model's own default."""

    model: str | None
    system: str
    temperature: float | None
    max_tokens: int | None
    seed: int | None
    constraint: ConstraintOptions
    cache: CacheOptions
    timeout_s: float

    @property
    def options(self) -> GenerationOptions:
        """Those of every answer."""
        options = cast("GenerationOptions", {**self.constraint, **self.cache})
        if self.temperature is not None:
            options["temperature"] = self.temperature
        if self.max_tokens is not None:
            options["max_tokens"] = self.max_tokens
        if self.seed is not None:
            options["seed"] = self.seed
        return options


def run_chat(command: ChatCommand, *, access: GatewayAccess, state_dir: StateDir) -> int:
    """Talks with the gateway of `access`, else with that of the local stack, and gives the exit code.

    Raises:
        CommandError: no gateway is there, or no model that can chat.
    """
    state = load_state(state_dir.stack_file)
    target, access = gateway_address(access.address, state), access.trusting(state)
    with open_client(target, access, timeout_s=command.timeout_s) as client:
        try:
            model = _chat_model(client, command.model)
        except PenstockError as error:
            raise explained(error, target, command.timeout_s) from error
        screen = Screen(is_interactive=is_interactive())
        session = ChatSession(
            client,
            model,
            conversation=Conversation(system=command.system),
            options=command.options,
            screen=screen,
            read_line=terminal_line_reader() if screen.is_interactive else pipe_line_reader(sys.stdin),
            explain=lambda error: str(explained(error, target, command.timeout_s)),
        )
        screen.note(f"{model.name} at {target}; /help lists commands, Ctrl-D leaves")
        session.run()
    # A person has seen what failed; a script has its exit code.
    return FAILED if session.num_failures and not screen.is_interactive else 0


def _chat_model(client: Client, name: str | None) -> Model:
    model = choose_model(client.list_models(), name)
    if not model.has_chat_template:
        raise CommandError(f"{model.name} has no chat template; ask it with `penstock generate --raw`")
    return model
