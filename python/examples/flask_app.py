"""Webhooks in Flask: `CHANNEL_CONFIG=amochats.toml gunicorn --workers 1 --threads 16 flask_app:app`."""

import os
from pathlib import Path

import amochats
import amochats.wsgi
from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

# Without --preload this runs in the worker, which closes the channel at its end.
channel = amochats.BlockingChannel(Path(os.environ["CHANNEL_CONFIG"]), environ=os.environ)
channel.open()

app = Flask(__name__)
# To be told to amoCRM: https://…/webhook/:scope_id
webhooks = amochats.wsgi.WebhookApp(channel)
app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/webhook": webhooks})  # type: ignore[method-assign]
