"""python -m batchsnap"""

from batchsnap.cli.main import main

main()
