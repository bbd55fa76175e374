"""The regions that are known by name: to complete them, and to tell a slip of the pen.

New ones come, so an unknown region is only worth a word, never an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

KNOWN = (
    *("ap-bangkok", "ap-beijing", "ap-beijing-fsi", "ap-chengdu", "ap-chongqing", "ap-guangzhou"),
    *("ap-hongkong", "ap-jakarta", "ap-mumbai", "ap-nanjing", "ap-seoul", "ap-shanghai"),
    *("ap-shanghai-fsi", "ap-shenzhen", "ap-shenzhen-fsi", "ap-singapore", "ap-taipei"),
    *("ap-tianjin", "ap-tokyo", "eu-frankfurt", "eu-moscow", "na-ashburn", "na-siliconvalley"),
    *("na-toronto", "sa-saopaulo"),
)


def unknown(regions: Iterable[str]) -> Iterator[str]:
    """A word about each region that is not known."""
    for region in sorted(set(regions) - set(KNOWN) - {""}):
        near = get_close_matches(region, KNOWN, 1, 0.7)
        meant = f": did you mean {near[0]}?" if near else ""
        yield f"region {region} is none that batchsnap knows{meant or '; it is asked all the same'}"
