from services.social.app import create_app
from shared.app import run
from shared.config import Settings, load

if __name__ == "__main__":
    settings = load(Settings)
    run(create_app(settings), settings)
