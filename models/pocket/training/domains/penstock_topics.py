"""Single facts about Penstock and what people say to ask for them."""

from dataclasses import dataclass

from phrasing import Fact, Relation, phrases, relation


@dataclass(frozen=True, slots=True)
class Topic:
    """One fact without slots; the phrasings are blocks for `phrases`."""

    name: str
    answer: str
    nouns: str
    clauses: str
    sentences: str

    def relation(self) -> Relation:
        """The topic as a relation with a single fact."""
        fact = Fact({}, self.answer)
        wordings = (phrases(self.sentences), phrases(self.nouns), phrases(self.clauses))
        return relation(f"penstock.{self.name}", 0.45, [fact], *wordings)


TOPICS = (
    Topic(
        name="summary",
        answer="Penstock serves large language models as gRPC microservices.",
        nouns="""
        the purpose of penstock / the idea of penstock / the aim of the penstock project
        penstock in one sentence
        """,
        clauses="""
        what penstock is / what penstock does / what penstock is for / what the penstock project is
        """,
        sentences="""
        what is penstock? / what does penstock do? / define penstock / penstock? / penstock, what is it?
        what is the software penstock? / describe penstock in a sentence / what kind of software is penstock?
        what is penstock used for? / for what do people use penstock? / i never heard of penstock. what is it?
        what is this penstock thing? / in short, what is penstock? / what do you mean by penstock? / penstock is
        explain penstock briefly / what does the penstock project do? / what is meant by penstock?
        """,
    ),
    Topic(
        name="water",
        answer="A penstock is a gated pipe that leads water from a reservoir to the turbines.",
        nouns="""
        a penstock at a dam / a penstock in a water power station / the meaning of the word penstock
        a penstock for water / a real penstock made of steel / a penstock in hydropower
        """,
        clauses="""
        what a penstock is at a dam / what the word penstock means / what penstock means in engineering
        what a penstock does with water / where the word penstock comes from
        """,
        sentences="""
        what does the word penstock mean? / what is a penstock? / a penstock is what, at a dam?
        where does the name penstock come from? / why is it called penstock?
        what is a penstock in the water sense? / penstock: what is the meaning of the word?
        what is a penstock pipe? / define a penstock at a power station
        what does a penstock do with the water? / at a dam, what do they call a penstock?
        in water engineering, what does penstock mean? / what is a penstock in a dam?
        which pipe is called a penstock? / how does a penstock work in a hydroelectric plant?
        """,
    ),
    Topic(
        name="language",
        answer="Penstock is written in Python.",
        nouns="""
        the programming language of penstock / the language of penstock's code / the language used for penstock
        """,
        clauses="""
        which language penstock is written in / in what language penstock is coded
        what language the code of penstock is in
        """,
        sentences="""
        in which language is penstock written? / what language is penstock written in?
        is penstock written in python? / which programming language does penstock use?
        penstock is coded in which language? / is penstock a java program? / penstock's code is in
        in what language was penstock made? / penstock was programmed in what language?
        what is penstock coded in? / language of penstock? / which language did the authors of penstock choose?
        """,
    ),
    Topic(
        name="protocol",
        answer="Penstock talks gRPC.",
        nouns="""
        the protocol of penstock / penstock's network protocol / the rpc protocol in penstock
        the protocol between the services of penstock
        """,
        clauses="""
        which protocol penstock uses / what protocol penstock speaks / how the services of penstock talk
        """,
        sentences="""
        which protocol does penstock use? / what protocol does penstock speak?
        how do the parts of penstock talk? / how do the services communicate in penstock?
        does penstock use rest? / does penstock use grpc? / what does penstock use for communication?
        with which protocol do penstock's parts communicate? / penstock speaks which protocol?
        how is penstock called over the network? / what kind of rpc does penstock use?
        by what protocol do clients reach penstock?
        """,
    ),
    Topic(
        name="parts",
        answer="The parts of Penstock are the gateway, the cache, the tokenizer, the fleet and the workers.",
        nouns="""
        the parts of penstock / the services of penstock / the components of penstock / penstock's parts
        the list of penstock's services / the microservices in penstock
        """,
        clauses="""
        which parts penstock has / what penstock consists of / which services belong to penstock
        what parts make up penstock
        """,
        sentences="""
        which parts does penstock have? / what are the parts of penstock? / list the parts of penstock
        what are the components of penstock? / which services are in penstock? / what does penstock consist of?
        which microservices does penstock have? / how is penstock built up? / enumerate the services of penstock
        penstock is made of which parts? / of what is penstock made? / which pieces make up penstock?
        penstock consists of
        """,
    ),
    Topic(
        name="ray",
        answer="Ray places, restarts and scales the workers.",
        nouns="""
        the role of ray / the job of ray in penstock / the task of ray / the use of ray in penstock
        """,
        clauses="""
        what ray does in penstock / why penstock uses ray / what ray is for / why we need ray
        """,
        sentences="""
        what does ray do? / what does ray do in penstock? / why does penstock use ray? / what is ray for?
        what is ray used for? / what is ray good for in penstock? / what is the role of ray in penstock?
        explain ray in penstock / how does penstock use ray? / for what does penstock need ray? / ray does what?
        """,
    ),
    Topic(
        name="http",
        answer="The HTTP port is 8080.",
        nouns="""
        the http port / the http port of the gateway / the port for http / the web port
        """,
        clauses="""
        which port http uses / what the http port is / on which port http is served
        """,
        sentences="""
        which port is http on? / what is the http port? / on which port is http served? / http port?
        where are the metrics served? / which port serves http? / the gateway serves http on which port?
        on which port do i find the metrics?
        """,
    ),
    Topic(
        name="start",
        answer="Run penstock up to start Penstock.",
        nouns="""
        the command to start penstock / the start command of penstock / the command that launches penstock
        """,
        clauses="""
        how to start penstock / how penstock is started / which command starts penstock / how i launch penstock
        """,
        sentences="""
        how do i start penstock? / how can i start penstock? / how to start penstock / start penstock
        which command starts penstock? / how is penstock launched? / what do i type to start penstock?
        how do you launch penstock? / i want to start penstock. how? / what starts penstock?
        how do i bring penstock up? / how does one run penstock? / how do i run penstock on my machine?
        """,
    ),
    Topic(
        name="stop",
        answer="Run penstock down to stop Penstock.",
        nouns="""
        the command to stop penstock / the stop command of penstock / the command that ends penstock
        """,
        clauses="""
        how to stop penstock / how penstock is stopped / which command stops penstock / how i shut penstock down
        """,
        sentences="""
        how do i stop penstock? / how can i stop penstock? / how to stop penstock / stop penstock
        which command stops penstock? / how is penstock stopped? / what do i type to stop penstock?
        how do you end penstock? / i want to stop penstock. how? / what stops penstock?
        how do i bring penstock down? / how do i shut down penstock? / how do i turn penstock off?
        """,
    ),
    Topic(
        name="status",
        answer="Run penstock status to see what is running.",
        nouns="""
        the status command of penstock / the command for the status of penstock / the command to check penstock
        """,
        clauses="""
        how to see the status of penstock / how i check penstock / which command shows the state of penstock
        """,
        sentences="""
        how do i see what is running? / how do i check the status of penstock? / which command shows the status?
        is penstock running? how do i see it? / how can i see if penstock runs? / how to check penstock
        what shows the state of penstock? / what do i type to see the status of penstock?
        """,
    ),
    Topic(
        name="licence",
        answer="Penstock has the Apache 2.0 licence.",
        nouns="""
        the licence of penstock / the license of penstock / penstock's license
        """,
        clauses="""
        which licence penstock has / what license penstock uses / how penstock is licensed
        """,
        sentences="""
        which licence does penstock have? / what is the license of penstock? / how is penstock licensed?
        is penstock open source? / may i use penstock freely? / license of penstock?
        penstock comes with which license? / what license does penstock have?
        under what terms is penstock licensed?
        """,
    ),
    Topic(
        name="replica",
        answer="A replica is one running copy of a model.",
        nouns="""
        a replica / a replica in penstock / the meaning of replica
        """,
        clauses="""
        what a replica is / what replica means / what penstock calls a replica
        """,
        sentences="""
        what is a replica? / what does replica mean? / define replica / explain replicas / what are replicas?
        what is a replica in penstock? / describe a replica / why are there replicas?
        what do you call a replica?
        """,
    ),
    Topic(
        name="engine",
        answer="The model runs on PyTorch.",
        nouns="""
        the library that runs the model / the framework under the model / the tensor library of penstock
        """,
        clauses="""
        which library runs the model / what framework the model runs on
        """,
        sentences="""
        which library runs the model? / does penstock use torch? / does penstock use pytorch?
        what runs the model? / on which framework does the model run?
        which deep learning library does penstock use? / what does penstock use torch for?
        is the model run by pytorch?
        """,
    ),
)
