"""Webhooks in Django, as one file: `CHANNEL_CONFIG=amochats.toml gunicorn --workers 1 --threads 16 django_app:app`.

The view needs no CSRF token: `webhook_view` is exempt, since amoCRM sends none and signs instead.
"""

import os
from pathlib import Path

import amochats
import amochats.django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import path

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["127.0.0.1"],
    MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
)
# Without --preload this runs in the worker, which closes the channel at its end.
channel = amochats.BlockingChannel(Path(os.environ["CHANNEL_CONFIG"]), environ=os.environ)
channel.open()
# To be told to amoCRM: https://…/webhook/:scope_id
urlpatterns = [path("webhook/<str:scope_id>", amochats.django.webhook_view(channel))]
app = get_wsgi_application()
