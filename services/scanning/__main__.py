import sys

from services.scanning import cli
from services.scanning.app import create_app
from services.scanning.settings import ScanningSettings
from shared.app import run
from shared.config import load

if __name__ == "__main__":
    arguments = cli.parse(sys.argv[1:])
    settings = load(ScanningSettings)
    if arguments.command == "audit":
        cli.audit(settings, arguments.event, dry_run=arguments.dry_run)
    else:
        run(create_app(settings), settings)
