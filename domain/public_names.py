"""Names that the Internet's DNS gives out: which end a domain may be registered under, and which a cluster may have.

It owns the lists. An end that is on neither list is taken for a private one, like ``internal``; so the lists need not
be complete, only right.
"""

from __future__ import annotations

import re
from typing import Final

_TOP_LEVEL: Final = """
    academy agency app art asia associates band bank bar berlin best bike bio biz blog brussels build builders
    business cafe cam camp capital careers cash cat center cern chat church city claims clinic cloud club codes
    coffee college com community company computer consulting contact contractors cool coop deals delivery design
    dev digital direct directory dog domains edu education email energy engineer engineering equipment estate
    eus events exchange expert express family farm fashion film finance financial fish fitness foo foundation
    frl fun fund fyi gal gallery game games gent global gmbh google gov graphics green group guide guru hamburg
    health help hiphop holdings horse hospital host hosting hotel house how icu immo info ing ink institute
    insure int international investments jobs kaufen kim koeln lat law legal lgbt life limited link live llc
    loan lol london love ltd market marketing mba media melbourne men menu miami mil mobi moda moe money movie
    museum name net network news ngo ninja nrw nyc ong online ooo org page paris partners parts party pet phone
    photo photography photos pics pictures pink pizza place plus poker post press pro productions properties pub
    quest realty recipes red rehab ren rent rentals repair report rest restaurant review reviews rip rocks ruhr
    run saarland sale salon sbs school science scot security services sex shop shopping show site skin social
    software solar solutions space storage store stream studio study style support surf surgery swiss systems
    taxi team tech technology tel tips tirol today tokyo tools top tours town toys trade training travel
    university uno vegas ventures vet video vip vision vote voyage wales watch web webcam website wedding wien
    wiki win wine work works wtf xxx xyz yoga zip zone
"""
REGISTRIES: Final = frozenset(_TOP_LEVEL.split())
"""Top-level domains under which anybody registers, besides those of countries, which have two letters
(https://data.iana.org/TLD/tlds-alpha-by-domain.txt)."""
_NOT_COUNTRIES: Final = re.compile(r"aa|q[m-z]|x[a-z]|zz", re.ASCII)
"""Codes that ISO 3166-1 leaves to their users: no country gets one, so the root never will."""
_SECOND_LEVEL: Final = re.compile(r"ac|com?|edu|go|gob|gouv|gov|mil|net?|nom|org?", re.ASCII)
"""Below a country's domain these are mostly no domain of somebody but hold those of others: ``co.uk``."""
RESERVED: Final = {
    "invalid": "for names that do not exist",
    "localhost": "which every machine takes for itself",
    "onion": "which resolvers must not answer",
}
"""Ends of names that have a meaning to every resolver, so that some would not ask the cluster at all
(https://www.iana.org/assignments/special-use-domain-names)."""


def registered(zone: str) -> bool:
    """Whether the zone is a whole domain as one registers it, or holds such domains: ``example.com``, ``co.uk``,
    ``example.co.uk``. What lies below is its owner's alone.
    """
    labels = zone.split(".")
    top = labels[-1]
    country = len(top) == 2 and top.isalpha() and not _NOT_COUNTRIES.fullmatch(top)
    if not country and top not in REGISTRIES:
        return False
    own = 3 if country and len(labels) > 1 and _SECOND_LEVEL.fullmatch(labels[-2]) else 2
    return len(labels) <= own


def holds_domains(zone: str) -> bool:
    """Whether anybody may have a domain right below: ``com``, ``co.uk``."""
    return registered(f"x.{zone}")
