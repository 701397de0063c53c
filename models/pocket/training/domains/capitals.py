"""Capitals of countries, asked in both directions."""

from phrasing import Fact, Relation, lines, relation

CAPITALS = """
Afghanistan=Kabul; Albania=Tirana; Algeria=Algiers; Angola=Luanda; Argentina=Buenos Aires; Armenia=Yerevan
Australia=Canberra; Austria=Vienna; Azerbaijan=Baku; the Bahamas=Nassau; Bangladesh=Dhaka; Belarus=Minsk
Belgium=Brussels; Bolivia=Sucre; Bosnia=Sarajevo; Brazil=Brasilia; Bulgaria=Sofia; Cambodia=Phnom Penh
Canada=Ottawa; Chile=Santiago; China=Beijing; Colombia=Bogota; Costa Rica=San Jose; Croatia=Zagreb
Cuba=Havana; Cyprus=Nicosia; the Czech Republic=Prague; Denmark=Copenhagen; Ecuador=Quito; Egypt=Cairo
Estonia=Tallinn; Ethiopia=Addis Ababa; Finland=Helsinki; France=Paris; Georgia=Tbilisi; Germany=Berlin
Ghana=Accra; Greece=Athens; Hungary=Budapest; Iceland=Reykjavik; India=New Delhi; Indonesia=Jakarta
Iran=Tehran; Iraq=Baghdad; Ireland=Dublin; Israel=Jerusalem; Italy=Rome; Jamaica=Kingston; Japan=Tokyo
Jordan=Amman; Kazakhstan=Astana; Kenya=Nairobi; Latvia=Riga; Lebanon=Beirut; Libya=Tripoli
Lithuania=Vilnius; Madagascar=Antananarivo; Malaysia=Kuala Lumpur; Mali=Bamako; Malta=Valletta
Mexico=Mexico City; Moldova=Chisinau; Mongolia=Ulaanbaatar; Morocco=Rabat; Nepal=Kathmandu
the Netherlands=Amsterdam; New Zealand=Wellington; Nigeria=Abuja; North Korea=Pyongyang; Norway=Oslo
Pakistan=Islamabad; Panama=Panama City; Paraguay=Asuncion; Peru=Lima; the Philippines=Manila; Poland=Warsaw
Portugal=Lisbon; Qatar=Doha; Romania=Bucharest; Russia=Moscow; Saudi Arabia=Riyadh; Senegal=Dakar
Serbia=Belgrade; Slovakia=Bratislava; Slovenia=Ljubljana; Somalia=Mogadishu; South Korea=Seoul; Spain=Madrid
Sudan=Khartoum; Sweden=Stockholm; Switzerland=Bern; Syria=Damascus; Taiwan=Taipei; Tanzania=Dodoma
Thailand=Bangkok; Tunisia=Tunis; Turkey=Ankara; Uganda=Kampala; Ukraine=Kyiv; Uruguay=Montevideo
the United Kingdom=London; the United States=Washington; Venezuela=Caracas; Vietnam=Hanoi; Zambia=Lusaka
Zimbabwe=Harare
"""
OTHER_NAMES = {
    "the United Kingdom": ("the United Kingdom", "the UK", "Great Britain", "Britain", "England"),
    "the United States": ("the United States", "the USA", "the US", "America"),
    "the Netherlands": ("the Netherlands", "Holland"),
    "the Czech Republic": ("the Czech Republic", "Czechia"),
}

OF_NOUNS = (
    "the capital of {country}", "the capital city of {country}", "{country}'s capital", "{country}'s capital city",
    "the capital in {country}", "the name of the capital of {country}", "the city that is the capital of {country}",
    "the capital {country} has", "the main city and capital of {country}",
)  # fmt: skip
OF_CLAUSES = (
    "which city is the capital of {country}", "what city is the capital of {country}",
    "which city is {country}'s capital", "which city {country} has as its capital",
    "how the capital of {country} is called",
    "what the capital of {country} is", "what {country}'s capital is", "what the capital city of {country} is called",
)  # fmt: skip
OF_SENTENCES = lines("""
    Which city is the capital of {country}?
    What city does {country} have as its capital?
    Which capital does {country} have?
    Where is the capital of {country}? I mean the name of the city.
    {country}: capital?
    Capital of {country}?
    {country} capital
    {country} has a capital. What is its name?
    The government of {country} sits in which capital?
    I live in {country}. What is my capital?
    I come from {country}, so which city is my capital?
    We travel to {country} next week. What is the capital there?
    My friend lives in the capital of {country}. Where does she live?
    Think of {country}. Which city is the capital?
    About {country}: what is the capital city?
    Is there a capital in {country}? Which one?
    In {country}, what is the capital?
    In {country} the capital is
    The capital of {country} is named
    When you hear {country}, which capital comes to mind?
    Complete this: the capital of {country} is ...
    Fill in the gap: ___ is the capital of {country}.
    How is the capital of {country} called?
    How do you call the capital of {country}?
    As for {country}, name its capital.
    What do people in {country} call their capital?
    Which place is the capital of {country}?
    I must learn the capitals. {country}?
    Geography test: {country} and its capital?
    A plane flies to the capital of {country}. Where does it land?
    If you were in {country}, which city would be the capital?
    What is the seat of government and capital of {country}?
    {country}'s capital is named what?
    For {country} the capital would be which city?
    They moved to {country}, to the capital. Which city is that?
    She asked me about {country} and its capital city. What do I answer?
    I am writing about {country} and I need its capital.
    Which of all cities is the capital of {country}?
""")
REVERSE_NOUNS = (
    "the country whose capital is {city}", "the country with the capital {city}",
    "the country that has {city} as its capital",
    "the country of which {city} is the capital", "the nation with {city} as the capital",
    "the country {city} is the capital of", "the state that has its capital in {city}",
)  # fmt: skip
REVERSE_CLAUSES = (
    "which country has {city} as its capital", "what country has the capital {city}",
    "which country {city} is the capital of", "what country {city} is the capital of",
    "of which country {city} is the capital", "whose capital {city} is", "which nation has its capital in {city}",
)  # fmt: skip
REVERSE_SENTENCES = lines("""
    {city} is the capital of which country?
    {city} is the capital of what?
    Of which country is {city} the capital?
    What country is {city} the capital of?
    Which country's capital is {city}?
    Whose capital is {city}?
    {city} is the capital of
    {city}: capital of which country?
    The city of {city} is the capital of which nation?
    To which country does the capital {city} belong?
    {city} is a capital city. Which country is it in?
    In which country is {city} the capital?
    If {city} is the capital, what is the country?
    I am in {city}, a capital. In which country am I?
    What nation is governed from its capital {city}?
    A country has the capital {city}. Which one is it?
    {city} is the main city of a country. Which country has this capital?
    Name the country: its capital is {city}.
    The capital is {city}. And the country?
    I travel to the capital {city}. Which country do I visit?
    {city} serves which country as its capital?
    Where is {city} the capital?
    As a capital, {city} belongs to what country?
    Which land calls {city} its capital?
""")


def pairs() -> list[tuple[str, str]]:
    """Every (country, capital) of the table."""
    entries = CAPITALS.replace("\n", ";").split(";")
    return [(country.strip(), city.strip()) for country, _, city in (e.partition("=") for e in entries if e.strip())]


def relations() -> list[Relation]:
    """Country to capital and capital to country."""
    of = [
        Fact({"country": OTHER_NAMES.get(country, (country,))}, f"The capital of {country} is {city}.")
        for country, city in pairs()
    ]
    reverse = [Fact({"city": (city,)}, f"{city} is the capital of {country}.") for country, city in pairs()]
    return [
        relation("capitals.of", 12.0, of, OF_SENTENCES, OF_NOUNS, OF_CLAUSES),
        relation("capitals.reverse", 6.0, reverse, REVERSE_SENTENCES, REVERSE_NOUNS, REVERSE_CLAUSES),
    ]
