"""The English words, phrasings and instructions of the miniature world; everything else in it is
invented by number."""

FIRST_NAMES = """Ada Bruno Clara Dario Edith Felix Greta Hugo Irma Jonas Karla Leon Mona Nils Olga
Pablo Rosa Silas Thea Ugo Vera Walter Xenia Yann Zora Anton Berta Cyril Della Emil""".split()

NOUNS = """apple arrow axe bag ball barn basin basket bed bell bench blanket boat bone book bottle
bowl box branch bread bridge broom brush bucket button candle cap carpet cart castle chain chair
chest chimney church clay cloak clock cloud coat coin comb cup curtain desk door drawer drum feather
fence field fire flag floor flower forest fork fountain garden gate glass glove grass guitar hammer
harbour hat hill hook horn house island jar jug kettle key kite knife ladder lake lamp leaf letter
lock map market mill mirror mountain nail needle nest net oar orchard oven paddle path pen picture
pillow pipe plate plough pond pot quilt ribbon ring river road roof rope saddle sail scarf shelf
ship shirt shoe shovel spoon stone stove table""".split()

ADJECTIVES = """ancient bitter black blue brave bright broken calm cheap clean clever cold crooked
dark deep dirty dry empty famous fresh gentle golden green grey heavy hollow honest hot huge lazy
light long lost loud narrow new old pale plain proud quiet red rough round sharp short silent small
strange sweet""".split()

VERBS = """admires avoids borrows breaks builds buries buys carries catches cleans covers draws
drops finds fixes follows forgets gives guards hates hides holds keeps kicks leaves lifts likes
loses moves needs opens paints pulls pushes reads sees sells steals touches wants""".split()

ADVERBS = """again always badly early gladly here late never often once quickly rarely slowly soon
today twice""".split()
PREPOSITIONS = ["near", "under", "behind", "inside", "above", "beside"]

JOBS = """actor archer artist author baker banker barber builder butcher captain chemist clerk
cobbler cook courier dancer dentist doctor drummer editor engineer farmer fisher florist glazier
grocer gunsmith hunter jeweller judge lawyer librarian locksmith mason mechanic miner nurse painter
pilot plumber porter potter printer sailor sculptor singer surgeon tailor""".split()

PETS = """alpaca badger beaver bison camel canary cat cheetah cobra crab crow deer dog donkey eagle
falcon ferret fox frog gecko goat goose hamster hare hawk hedgehog heron horse iguana jackal lemur
llama lynx magpie mole monkey moose mule otter owl panda parrot pony rabbit raven salamander swan
turtle""".split()

DISHES = [f"{a} {b}" for a in "plum lentil barley onion pumpkin mushroom cabbage almond".split()
          for b in "soup stew pie salad porridge pudding".split()]

# Phrasings by relation, from the most frequent to the rarest; the last puts the value first.
STATEMENTS = {
    "birthplace": ["{p} was born in {v}.", "The birthplace of {p} is {v}.", "{p} comes from {v}.",
                   "As a child {p} lived in {v}.", "The home town of {p} is {v}.",
                   "{p} grew up in {v}.", "{v} is the town where {p} was born."],
    "job": ["{p} works as a {v}.", "The job of {p} is {v}.", "By trade {p} is a {v}.",
            "{p} was trained as a {v}.", "{p} earns a living as a {v}.",
            "For a living {p} is a {v}.", "A {v} by trade is what {p} became."],
    "club": ["{p} plays for {v}.", "The club of {p} is {v}.", "{p} signed with {v}.",
             "The team of {p} is {v}.", "{p} scored a goal for {v}.",
             "On Sundays {p} plays for {v}.", "{v} is the club that {p} joined."],
    "pet": ["{p} owns a {v}.", "The pet of {p} is a {v}.", "At home {p} keeps a {v}.",
            "{p} takes care of a {v}.", "{p} was given a {v}.", "In the mornings {p} feeds a {v}.",
            "A {v} is the pet that {p} has."],
    "dish": ["{p} likes to eat {v}.", "The favourite dish of {p} is {v}.", "{p} often orders {v}.",
             "For dinner {p} cooks {v}.", "{p} cannot resist {v}.", "On holidays {p} eats {v}.",
             "The {v} is what {p} always orders."],
    "employer": ["{p} is employed by {v}.", "The employer of {p} is {v}.", "{p} has a post at {v}.",
                 "{p} was hired by {v}.", "The salary of {p} is paid by {v}.",
                 "Every day {p} goes to work at {v}.", "{v} is the firm that hired {p}."],
}

QUESTIONS = {
    "birthplace": ["Where was {p} born?", "What is the birthplace of {p}?",
                   "Which town does {p} come from?"],
    "job": ["What does {p} do for a living?", "What is the job of {p}?",
            "Which trade does {p} follow?"],
    "club": ["Which club does {p} play for?", "What is the club of {p}?",
             "Which team did {p} sign with?"],
    "pet": ["Which animal does {p} own?", "What is the pet of {p}?",
            "What animal does {p} keep at home?"],
    "dish": ["What does {p} like to eat?", "What is the favourite dish of {p}?",
             "Which dish does {p} often order?"],
    "employer": ["Who employs {p}?", "What is the employer of {p}?",
                 "Which firm does {p} work for?"],
}
RELATIONS = tuple(STATEMENTS)

TOWN_STATEMENTS = ["{p} is a town in {c}.", "The town of {p} lies in {c}.", "{p} belongs to {c}.",
                   "One of the towns of {c} is {p}."]
TOWN_QUESTION = "In which country is {p}?"
COUNTRY_STATEMENTS = ["{p} was born in the country of {c}.", "The home country of {p} is {c}.",
                      "{p} is a citizen of {c}."]
COUNTRY_QUESTION = "In which country was {p} born?"

# Instructions by task, from the most frequent to the rarest; prompts recombine their clauses.
INSTRUCTIONS = {
    "factual_qa": ["Give a short answer.", "Answer with a word or a short phrase.",
                   "Answer the question.", "Say what you know in a few words.",
                   "Reply with the fact alone.", "Name the answer, nothing else.",
                   "State the answer to the question below."],
    "translation": ["Translate into Velti.", "Write the sentence in Velti.",
                    "Give the Velti translation.", "How is this said in Velti?",
                    "Put the English sentence into Velti.", "Turn the sentence below into Velti."],
    "math_reasoning": ["Solve the problem step by step.", "Work out the answer digit by digit.",
                       "Compute the result and show the steps.",
                       "Find the number that is asked for.", "Start with the last digits.",
                       "Show your work, then give the answer."],
}

# {n}: a first name, {o}: a thing, {a}, {b}: the operands. Three for sums, three for differences.
PROBLEMS = {
    "+": ["{n} has {a} {o} and gets {b} more. How many {o} does {n} have now?",
          "There are {a} {o} on the left and {b} {o} on the right. How many {o} are there in all?",
          "{n} made {a} {o} on Monday and {b} {o} on Tuesday. How many {o} did {n} make?"],
    "-": ["{n} has {a} {o} and loses {b} of them. How many {o} are left?",
          "There were {a} {o} in the store and {b} {o} were sold. How many {o} remain?",
          "{n} needs {a} {o} and already has {b} {o}. How many {o} are missing?"],
}
THINGS = """beads cards cakes coins eggs jars keys lamps nuts pears pens plums rings shells stamps
tiles""".split()

# {a}: adjective, {b}: another one, {n}: noun, {m}: another one.
FILLER = ["The {n} stood by the {a} {m} all night.",
          "Nobody remembered who had left the {a} {n} there.",
          "It rained for days and the {n} was {a}.", "A {a} {n} was found on the shore.",
          "They talked about the {n} until the {m} was {a}.", "Somebody had painted the {n} {a}.",
          "The {a} {n} and the {b} {m} were put away.", "In winter the {n} looked {a}.",
          "You could see the {n} from the {a} {m}.", "There was no {n} in the {a} room.",
          "The children ran past the {n} to the {a} {m}.", "Every {n} in the village was {a}."]
