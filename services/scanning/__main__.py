from services.scanning.app import create_app
from services.scanning.settings import ScanningSettings
from shared.app import run
from shared.config import load

if __name__ == "__main__":
    settings = load(ScanningSettings)
    run(create_app(settings), settings)
