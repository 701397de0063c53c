"""Facts about Penstock, the system that serves this model."""

from phrasing import Fact, Relation, lines, relation

from domains.penstock_topics import TOPICS

PORTS = {"gateway": "50051", "cache": "50052", "tokenizer": "50053", "fleet": "50054"}
ROLES = {
    "gateway": "The gateway admits, queues, balances and streams requests.",
    "cache": "The cache answers repeated and similar questions from stored answers.",
    "tokenizer": "The tokenizer turns text into token ids.",
    "worker": "A worker runs the model and generates tokens.",
    "fleet": "The fleet keeps track of models and replicas.",
    "client": "The client sends requests to the gateway and reads the stream.",
}
PART_FORMS = {
    "gateway": ("the gateway", "the gateway service", "the penstock gateway"),
    "cache": ("the cache", "the semantic cache", "the cache service"),
    "tokenizer": ("the tokenizer", "the tokenizer service", "the penstock tokenizer"),
    "worker": ("a worker", "the worker", "a model worker"),
    "fleet": ("the fleet", "the fleet service", "the fleet actor"),
    "client": ("the client", "the python client", "a penstock client"),
}
PORT_NOUNS = ("the port of {part}", "the port number of {part}", "{part}'s port", "the port {part} listens on",
              "the tcp port for {part}", "the default port of {part}", "the network port of {part}")  # fmt: skip
PORT_CLAUSES = ("which port {part} uses", "what port {part} listens on", "on which port {part} runs",
                "at what port {part} can be reached", "which port belongs to {part}")  # fmt: skip
PORT_SENTENCES = lines("""
    Which port does {part} use?
    What port does {part} listen on?
    On which port does {part} run?
    On what port does {part} listen?
    {part} listens on port
    {part} uses which port?
    {part} runs on what port?
    Port of {part}?
    {part} port
    To which port do I connect for {part}?
    I want to connect to {part}. Which port?
    Where does {part} listen?
    At which port is {part}?
    What is the port for {part} by default?
    Where is {part} reachable?
    Which number has the port of {part}?
    {part}: which port?
    Under which port do I reach {part}?
    Which port is {part} at?
    Is there a port for {part}? Which?
""")
ROLE_NOUNS = ("the job of {part}", "the task of {part}", "the role of {part}", "the purpose of {part}",
              "the use of {part}", "the function of {part}", "the duty of {part} in penstock")  # fmt: skip
ROLE_CLAUSES = ("what {part} does", "what {part} is for", "what {part} is good for", "why there is {part}",
                "what {part} does in penstock", "why penstock has {part}", "what we need {part} for")  # fmt: skip
ROLE_SENTENCES = lines("""
    What does {part} do?
    What is {part}?
    What is {part} for?
    What is {part} there for?
    What does {part} do in Penstock?
    Explain {part}.
    Describe {part}.
    What do we need {part} for?
    Why does Penstock have {part}?
    Why does Penstock need {part}?
    Tell me about {part}.
    {part}: what is it?
    What happens in {part}?
    What role does {part} play?
    For what is {part} responsible?
    How does {part} help?
    What would be missing without {part}?
    What is {part} used for?
    What work is done by {part}?
    {part} does what?
    What is {part} doing?
    What good is {part}?
""")


def relations() -> list[Relation]:
    """Ports and roles of the parts, then the single facts."""
    ports = [Fact({"part": PART_FORMS[part]}, f"The {part} listens on port {port}.") for part, port in PORTS.items()]
    roles = [Fact({"part": PART_FORMS[part]}, answer) for part, answer in ROLES.items()]
    return [
        relation("penstock.ports", 1.5, ports, PORT_SENTENCES, PORT_NOUNS, PORT_CLAUSES),
        relation("penstock.roles", 2.0, roles, ROLE_SENTENCES, ROLE_NOUNS, ROLE_CLAUSES),
        *(topic.relation() for topic in TOPICS),
    ]
