import sys

from services.checkout import cli
from services.checkout.app import create_app
from services.checkout.settings import CheckoutSettings
from shared.app import run
from shared.config import load

if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(cli.main(sys.argv[1:]))
    settings = load(CheckoutSettings)
    run(create_app(settings), settings)
