from services.checkout.app import create_app
from services.checkout.settings import CheckoutSettings
from shared.app import run
from shared.config import load

if __name__ == "__main__":
    settings = load(CheckoutSettings)
    run(create_app(settings), settings)
