"""HTTP in, HTTP out."""

from shared.http import Routes

routes = Routes()
