"""The words for each value of each factor: the vocabulary of captions and prompts."""

from typing import Final

NOUNS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "duck": (("duck", "ducks"),),
    "swan": (("swan", "swans"),),
    "flamingo": (("flamingo", "flamingos"),),
    "pelican": (("pelican", "pelicans"),),
    "owl": (("owl", "owls"),),
    "rooster": (("rooster", "roosters"), ("chicken", "chickens")),
    "peacock": (("peacock", "peacocks"),),
    "parrot": (("parrot", "parrots"),),
    "cat": (("cat", "cats"), ("kitten", "kittens")),
    "elephant": (("elephant", "elephants"),),
    "rabbit": (("rabbit", "rabbits"), ("bunny", "bunnies")),
    "giraffe": (("giraffe", "giraffes"),),
    "fish": (("fish", "fish"),),
    "crab": (("crab", "crabs"),),
    "octopus": (("octopus", "octopuses"),),
    "whale": (("whale", "whales"),),
    "car": (("car", "cars"),),
    "boat": (("boat", "boats"), ("sailboat", "sailboats")),
    "plane": (("plane", "planes"), ("airplane", "airplanes")),
    "rocket": (("rocket", "rockets"),),
    "tree": (("tree", "trees"),),
    "flower": (("flower", "flowers"),),
    "cactus": (("cactus", "cacti"),),
    "mushroom": (("mushroom", "mushrooms"),),
    "apple": (("apple", "apples"),),
    "banana": (("banana", "bananas"),),
    "ice cream": (("ice cream", "ice creams"), ("ice cream cone", "ice cream cones")),
    "house": (("house", "houses"),),
    "castle": (("castle", "castles"),),
    "lighthouse": (("lighthouse", "lighthouses"),),
    "circle": (("circle", "circles"), ("disc", "discs")),
    "square": (("square", "squares"),),
    "triangle": (("triangle", "triangles"),),
    "star": (("star", "stars"),),
    "heart": (("heart", "hearts"),),
}
"""Singular and plural names of each kind; the first is the usual one."""

CATEGORY_NOUNS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "bird": (("bird", "birds"),),
    "mammal": (("mammal", "mammals"), ("furry animal", "furry animals")),
    "sea creature": (("sea creature", "sea creatures"), ("sea animal", "sea animals")),
    "vehicle": (("vehicle", "vehicles"),),
    "plant": (("plant", "plants"),),
    "food": (("piece of food", "pieces of food"), ("snack", "snacks")),
    "building": (("building", "buildings"),),
    "shape": (("shape", "shapes"), ("geometric shape", "geometric shapes")),
}

BIRD_NOUNS: Final[dict[str, tuple[str, ...]]] = {
    "land bird": (
        "land bird",
        "bird of the land",
        "bird that lives on land",
        "bird of the woods",
        "songbird",
    ),
    "water bird": (
        "water bird",
        "bird of the water",
        "bird that lives by the water",
        "waterbird",
    ),
}
"""Used in captions of the birds splits only, where they are all that names the bird."""

ANYTHING: Final = (("object", "objects"), ("thing", "things"))

COLOURS: Final[dict[str, tuple[str, ...]]] = {
    "red": ("red",),
    "orange": ("orange",),
    "yellow": ("yellow",),
    "green": ("green",),
    "blue": ("blue",),
    "purple": ("purple", "violet"),
    "pink": ("pink",),
    "white": ("white",),
}

COUNTS: Final[dict[str, tuple[str, ...]]] = {
    "one": ("one", "a single", "just one", "only one"),
    "two": ("two", "a pair of", "exactly two"),
    "three": ("three", "a trio of", "exactly three"),
    "four": ("four", "a group of four", "exactly four"),
}

TEXTURES: Final[dict[str, tuple[str, ...]]] = {
    "plain": ("plain", "solid"),
    "striped": ("striped", "stripy"),
    "spotted": ("spotted", "dotted"),
    "checkered": ("checkered", "chequered"),
}

TEXTURE_TAILS: Final[dict[str, tuple[str, ...]]] = {
    "plain": ("without any pattern", "with no pattern"),
    "striped": ("with stripes", "covered in stripes"),
    "spotted": ("with spots", "covered in dots"),
    "checkered": ("with checks", "with a checkered pattern"),
}

PLACE_TAILS: Final[dict[str, tuple[str, ...]]] = {
    "water": ("on the water", "in the water", "on the sea", "on a lake", "over the waves"),
    "grass": ("on the grass", "in a meadow", "on a lawn"),
    "sand": ("on the sand", "on a beach", "in the desert"),
    "night sky": (
        "in the night sky",
        "under a starry sky",
        "against a starry sky",
        "in outer space",
    ),
    "brick": ("in front of a brick wall", "by a wall of bricks", "against bricks"),
    "snow": ("in the snow", "on snow", "in a snowy place", "in winter"),
    "forest": ("in the forest", "among the trunks", "in the woods", "between tall trunks"),
    "city": ("in the city", "in front of a skyline", "in a town", "on a city street"),
}

PLACE_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "water": ("water", "the sea", "a lake", "waves"),
    "grass": ("grass", "a meadow", "a lawn"),
    "sand": ("sand", "a beach", "a desert"),
    "night sky": ("the night sky", "a starry night", "outer space"),
    "brick": ("a brick wall", "bricks"),
    "snow": ("snow", "a snowy place", "winter"),
    "forest": ("a forest", "the woods", "tall trunks"),
    "city": ("a city", "a skyline", "a town"),
}

TONE_TAILS: Final[dict[str, tuple[str, ...]]] = {
    "bright": ("in bright daylight", "in the sunshine", "on a bright day", "in bright light"),
    "dim": ("in dim light", "in the dark", "in deep shadow", "in very little light"),
    "sunset": ("at sunset", "in warm evening light", "at dusk", "in a golden glow"),
    "misty": ("in the mist", "in thick fog", "in a pale haze", "on a foggy day"),
}

TONE_ADJECTIVES: Final[dict[str, tuple[str, ...]]] = {
    "bright": ("bright", "sunny"),
    "dim": ("dim", "dark"),
    "sunset": ("warm", "glowing"),
    "misty": ("misty", "foggy", "hazy"),
}

MEDIA: Final = ("picture", "photo", "image", "drawing", "scene")
