"""The conversation between a person and a model. No error and no Ctrl-C inside it ends the program."""

from collections.abc import Callable, Sequence
from pathlib import Path

from penstock.chat.commands import HELP, Command, Say, Unknown, parse
from penstock.chat.conversation import Conversation
from penstock.chat.interrupt import StopOnCtrlC
from penstock.chat.reader import read_text
from penstock.chat.screen import Screen, figures
from penstock.client import (
    Answer,
    Client,
    FinishReason,
    GenerationOptions,
    InvalidArgumentError,
    Message,
    Model,
    PenstockError,
)

_WAY_OUT = "/clear begins anew, /save FILE keeps it first"


class ChatSession:
    """One conversation.

    Args:
        client: of the gateway.
        model: that answers first; it has a chat template.
        conversation: to go on with.
        options: of every answer.
        screen: where things are shown.
        read_line: see `read_text`.
        explain: what to tell of a failed call.

    Attributes:
        num_failures: questions that got no whole answer, and commands that failed.
    """

    def __init__(
        self,
        client: Client,
        model: Model,
        *,
        conversation: Conversation,
        options: GenerationOptions,
        screen: Screen,
        read_line: Callable[[str], str],
        explain: Callable[[PenstockError], str],
    ) -> None:
        self._client = client
        self._model = model
        self._conversation = conversation
        self._options = options
        self._screen = screen
        self._read_line = read_line
        self._explain = explain
        self._saved: set[Path] = set()
        self._was_interrupted = False
        self.num_failures = 0

    def run(self) -> None:
        """Until the end of the input, /quit, or a second Ctrl-C.

        Raises:
            KeyboardInterrupt: nobody sits at the terminal who could mean the answer alone.
        """
        while self._take_one():
            pass

    def _take_one(self) -> bool:
        """Takes one text or command; False to leave."""
        try:
            line = read_text(self._read_line)
            self._was_interrupted = False
            return self._take(line)
        except EOFError:
            return False
        except KeyboardInterrupt:
            if not self._screen.is_interactive:
                raise
            return self._goes_on_after_ctrl_c()

    def _goes_on_after_ctrl_c(self) -> bool:
        is_second, self._was_interrupted = self._was_interrupted, True
        self._screen.note("" if is_second else "\nCtrl-C again, or Ctrl-D, leaves")
        return not is_second

    def _take(self, line: str) -> bool:
        match parse(line):
            case Say(text):
                self._ask(text)
            case Unknown(hint):
                self._fail(hint)
            case Command("quit", _):
                return False
            case Command(name, argument):
                self._obey(name, argument)
        return True

    def _obey(self, name: str, argument: str) -> None:
        match name:
            case "system":
                self._set_system(argument)
            case "model":
                self._choose_model(argument)
            case "save":
                self._save(argument)
            case "clear":
                self._conversation.clear()
                self._screen.note("the conversation begins anew")
            case _:
                self._screen.note(HELP)

    def _ask(self, text: str) -> None:
        """Asks, and shows the answer as it comes. A question without any answer is as if never asked."""
        messages = [*self._conversation.messages, Message(role="user", content=text)]
        pieces: list[str] = []
        ctrl_c = StopOnCtrlC()
        try:
            with ctrl_c:
                answer = self._stream(messages, pieces, ctrl_c)
        except PenstockError as error:
            self._keep(text, pieces)
            if ctrl_c.is_pressed:
                self._stopped(has_answer=bool(pieces))
            else:
                self._fail(self._explain_answer(error, messages))
        else:
            self._keep(text, pieces or [""])
            self._tell(answer)

    def _stream(self, messages: Sequence[Message], pieces: list[str], ctrl_c: StopOnCtrlC) -> Answer:
        request: GenerationOptions = {**self._options, "model": self._model.name, "messages": messages}
        with self._client.stream(**request) as stream:
            ctrl_c.watch(stream)
            for piece in stream.text:
                pieces.append(piece)
                self._screen.piece(piece)
            return stream.answer()

    def _stopped(self, *, has_answer: bool) -> None:
        if not self._screen.is_interactive:
            raise KeyboardInterrupt
        self._was_interrupted = True
        self._screen.note("stopped" if has_answer else "\nstopped; the question is withdrawn")

    def _keep(self, question: str, pieces: Sequence[str]) -> None:
        if pieces:
            self._screen.end_answer()
            self._conversation.add(question, "".join(pieces))

    def _tell(self, answer: Answer) -> None:
        self._screen.note(figures(answer))
        num_tokens = answer.usage.prompt_tokens + answer.usage.completion_tokens
        if answer.finish_reason is FinishReason.LENGTH and num_tokens >= self._model.context_length:
            self._fail(f"the answer ends here: all {self._model.context_length} tokens of context are used. {_WAY_OUT}")

    def _explain_answer(self, error: PenstockError, messages: Sequence[Message]) -> str:
        """An error in words; a conversation that has outgrown the context, the commonest, with the way out."""
        if not isinstance(error, InvalidArgumentError):
            return self._explain(error)
        try:
            counted = self._client.count_tokens(model=self._model.name, messages=messages)
        except PenstockError:
            return self._explain(error)
        if counted.num_tokens < self._model.context_length:
            return self._explain(error)
        subject, way_out = "with this, the conversation has", _WAY_OUT
        if not self._conversation.turns:
            subject, way_out = "this has", "make it shorter"
        return (
            f"{subject} {counted.num_tokens} tokens; {self._model.name} takes {self._model.context_length}, "
            f"its answer included. {way_out[0].upper()}{way_out[1:]}"
        )

    def _set_system(self, text: str) -> None:
        if text:
            self._conversation.system = "" if text == "-" else text
        self._screen.note(f"system: {self._conversation.system or '(none)'}")

    def _choose_model(self, name: str) -> None:
        try:
            models = {model.name: model for model in self._client.list_models()}
        except PenstockError as error:
            self._fail(self._explain(error))
            return
        names = ", ".join(models)
        if not name:
            self._screen.note(f"model: {self._model.name}; served: {names}")
        elif name not in models:
            self._fail(f"no model {name!r}; served: {names}")
        elif not models[name].has_chat_template:
            self._fail(f"{name} has no chat template, and cannot chat")
        else:
            self._model = models[name]
            self._screen.note(f"model: {name}")

    def _save(self, argument: str) -> None:
        if not argument:
            self._fail("where to? /save FILE")
            return
        path = Path(argument).expanduser().absolute()
        try:
            self._conversation.save(path, self._model.name, may_replace=path in self._saved)
        except FileExistsError:
            self._fail(f"{path} is there already; choose another name")
        except OSError as error:
            self._fail(f"cannot write {path}: {error.strerror}")
        else:
            self._saved.add(path)
            self._screen.note(f"saved as {path}")

    def _fail(self, text: str) -> None:
        self.num_failures += 1
        self._screen.error(text)
