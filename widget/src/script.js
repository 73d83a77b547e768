/**
 * Links a CRM account to the chat channel of "@NAME@".
 *
 * The form asks for the login and the password of that service, sends them once to its server with the CRM's
 * one-time token and forgets them. The CRM keeps no more than the fact that the account is connected.
 */
define(['jquery'], function ($) {
  'use strict';

  var SERVER = '@SERVER@';
  var SUPPORT = '@SUPPORT@';
  var PRIVACY = '@PRIVACY@';
  var ROOT = '@ROOT@';
  /* The only field of the manifest's settings: a text with the state of the connection, nothing secret. */
  var FIELD = 'link_state';
  /* How long a call may take, in milliseconds. The server itself asks the CRM and the operator's service. */
  var TIMEOUT = 20000;
  /* The CRM tells the server of an installation and lets the widget call it in no certain order. */
  var RETRY_DELAY = 2000;
  var RETRIES_MAX = 5;

  return function () {
    var self = this;
    /* The account's view while the settings window is open; null otherwise. */
    var view = null;
    /* The connection that is under way: a second click or a save joins it. */
    var pending = null;
    /* Whether the server said, since the window was opened, that the account is connected. */
    var connected = false;
    /* Answers of an earlier window or of an account that was switched off meanwhile are dropped. */
    var session = 0;

    function text(key) {
      var own = typeof self.i18n === 'function' ? self.i18n('link') : null;
      var all = self.langs && self.langs.link;
      var said = (own && own[key]) || (all && all[key]);
      return typeof said === 'string' ? said : key;
    }

    function filled(key, values) {
      return text(key).replace(/\{(\w+)\}/g, function (whole, name) {
        return values[name] === undefined ? whole : String(values[name]);
      });
    }

    function account() {
      var app = window.APP || window.AMOCRM;
      return (app && typeof app.constant === 'function' && app.constant('account')) || {};
    }

    /* ---- calls ---- */

    function failure(code, retryAfter) {
      return { code: code, retryAfter: retryAfter };
    }

    function failureOf(xhr, status) {
      var body = xhr && xhr.responseJSON;
      var error = body && body.error;
      if (!body && xhr && xhr.responseText) {
        try {
          error = JSON.parse(xhr.responseText).error;
        } catch (broken) {
          error = null;
        }
      }
      if (error && typeof error.code === 'string') {
        return failure(error.code, Number(error.retry_after) || undefined);
      }
      if (status === 'timeout') {
        return failure('TIMEOUT');
      }
      if (status === 'parsererror') {
        return failure('BAD_ANSWER');
      }
      if (!xhr || typeof xhr.status !== 'number') {
        /* The host could not get a one-time token, so the server was not called. */
        return failure('NO_TOKEN');
      }
      return failure(xhr.status === 0 ? 'UNREACHABLE' : 'SERVER_ERROR');
    }

    /* One call to the server; always ends, with an answer or a failure, also where the host ignores `timeout`. */
    function call(method, path, body) {
      var done = $.Deferred();
      var watchdog = window.setTimeout(function () {
        done.reject(failure('TIMEOUT'));
      }, TIMEOUT + 2000);
      var options = { url: SERVER + path, method: method, type: method, dataType: 'json', timeout: TIMEOUT };
      if (body) {
        options.contentType = 'application/json';
        options.data = JSON.stringify(body);
      }
      if (typeof self.$authorizedAjax !== 'function') {
        done.reject(failure('NO_TOKEN'));
      } else {
        $.when(self.$authorizedAjax(options)).then(function (answer) {
          if (answer && typeof answer.state === 'string') {
            done.resolve(answer);
          } else {
            done.reject(failure('BAD_ANSWER'));
          }
        }, function (xhr, status) {
          done.reject(failureOf(xhr, status));
        });
      }
      return done.promise().always(function () {
        window.clearTimeout(watchdog);
      });
    }

    function later(run) {
      var done = $.Deferred();
      window.setTimeout(function () {
        run().then(done.resolve, done.reject);
      }, RETRY_DELAY);
      return done.promise();
    }

    function askState() {
      return call('GET', '/widget/state?amojo_id=' + encodeURIComponent(account().amojo_id));
    }

    /* Waits for a connection that the server has begun. */
    function settled(answer, left) {
      if (answer.state !== 'connecting') {
        return answer.state === 'connected' ? answer : $.Deferred().reject(failure('CHANNEL_REFUSED')).promise();
      }
      /* With a problem the server goes on by itself, and longer than anybody waits for here. */
      if (answer.problem || left === 0) {
        return $.Deferred().reject(failure(answer.problem ? 'RETRIED' : 'TIMEOUT')).promise();
      }
      return later(askState).then(function (next) {
        return settled(next, left - 1);
      });
    }

    function tryToConnect(credentials, left) {
      return call('POST', '/widget/connect', {
        login: credentials.login,
        password: credentials.password,
        amojo_id: account().amojo_id,
        account_id: Number(account().id) || undefined,
        subdomain: account().subdomain
      }).then(function (answer) {
        return settled(answer, RETRIES_MAX);
      }, function (failed) {
        /* A host may hand out a token that it kept; the next one is fresh. */
        var again = failed.code === 'NOT_INSTALLED' ? left > 0 : failed.code === 'TOKEN_EXPIRED' && left === RETRIES_MAX;
        if (again) {
          return later(function () {
            return tryToConnect(credentials, left - 1);
          });
        }
        if (failed.code === 'TIMEOUT') {
          /* The server may have gone on without us. */
          return askState().then(function (answer) {
            return answer.state === 'connected' ? answer : $.Deferred().reject(failed).promise();
          }, function () {
            return $.Deferred().reject(failed).promise();
          });
        }
        /* The login was right, and the server goes on without us. */
        return $.Deferred().reject(failed.code === 'CRM_UNAVAILABLE' ? failure('RETRIED') : failed).promise();
      });
    }

    /* ---- what is seen ---- */

    function element(tag, part, words) {
      var $made = $('<' + tag + '>').addClass(ROOT + '__' + part);
      return words === undefined ? $made : $made.text(words);
    }

    function link(part, address, words) {
      return element('a', part, words).attr({ href: address, target: '_blank', rel: 'noopener noreferrer' });
    }

    function button(part, words, act) {
      return element('button', part, words).attr('type', 'button').on('click.' + ROOT, function (event) {
        event.preventDefault();
        act();
      });
    }

    /* The input has no name, so that no form of the CRM takes it along; the browser must not offer CRM passwords. */
    function input(part, type, label, autocomplete) {
      var id = ROOT + '-' + part;
      var $input = element('input', 'input').attr({ id: id, type: type, autocomplete: autocomplete, spellcheck: 'false', maxlength: 256 });
      $input.on('input.' + ROOT, function () {
        $input.removeAttr('aria-invalid');
        remember({ state: 'editing' });
      });
      $input.on('keydown.' + ROOT, function (event) {
        if (event.which === 13) {
          event.preventDefault();
          connect();
        }
      });
      view[part] = $input;
      return element('p', 'row').append(element('label', 'label', label).attr('for', id), $input);
    }

    /* Tells the CRM's form of a change, so that its button can be pressed, and what to keep. */
    function remember(state) {
      if (!view) {
        return;
      }
      var $field = view.$body.find('input[name="' + FIELD + '"]');
      var known = JSON.stringify(state);
      if ($field.length > 0 && $field.val() !== known) {
        $field.val(known).trigger('change');
      }
    }

    function status(kind, words) {
      if (view) {
        view.$status.attr({ 'data-kind': kind, role: kind === 'error' ? 'alert' : 'status' }).text(words || '');
      }
    }

    function explain(failed) {
      var minutes = Math.ceil((failed.retryAfter || 60) / 60);
      var key = 'error_' + String(failed.code).toLowerCase();
      var words = filled(key, { minutes: minutes, server: SERVER });
      return words === key ? text('error_server_error') : words;
    }

    function failed(failedWith) {
      status('error', explain(failedWith) + ' ' + text('help_hint'));
    }

    /* Shows that something is under way: nothing can be pressed twice. */
    function busy(words) {
      if (view) {
        view.$root.attr('aria-busy', words ? 'true' : 'false');
        view.$root.find('input, button').prop('disabled', Boolean(words));
        if (words) {
          status('busy', words);
        }
      }
    }

    function dated(since) {
      var date = new Date(typeof since === 'number' ? since * 1000 : since);
      if (!since || isNaN(date.getTime())) {
        return '';
      }
      return date.toLocaleString(text('locale'), { dateStyle: 'medium', timeStyle: 'short' });
    }

    function showConnected(answer) {
      connected = true;
      if (!view) {
        return;
      }
      var since = dated(answer.since);
      var $state = element('div', 'state').append(
        element('strong', 'state-title', text('connected')),
        element('span', 'state-words', answer.title ? filled('connected_to', { title: answer.title }) : text('connected_words'))
      );
      if (since) {
        $state.append(element('span', 'state-words', filled('since', { date: since })));
      }
      var $acts = element('div', 'acts').append(button('quiet', text('disconnect'), function () {
        $acts.empty().append(
          element('p', 'words', text('disconnect_sure')),
          button('danger', text('disconnect_yes'), disconnect),
          button('quiet', text('cancel'), function () {
            showConnected(answer);
          })
        );
      }));
      view.$content.empty().append($state, $acts);
      status('none');
      view.$root.attr('data-state', 'connected');
      remember({ state: 'connected', title: answer.title || '' });
    }

    function showForm() {
      connected = false;
      if (!view) {
        return;
      }
      view.$content.empty().append(
        element('h3', 'title', text('title')),
        element('p', 'words', text('intro')),
        element('p', 'note', text('whose_password')),
        input('login', 'text', text('login'), 'off'),
        input('password', 'password', text('password'), 'new-password'),
        element('div', 'acts').append(button('main', text('connect'), connect))
      );
      view.$root.attr('data-state', 'disconnected');
    }

    /* The host's theme by what is seen: how it marks its dark theme differs between hosts. */
    function isDark($body) {
      var found = null;
      $body.parents().addBack().each(function () {
        var parts = (window.getComputedStyle(this).backgroundColor.match(/[\d.]+/g) || []).map(Number);
        if (parts.length >= 3 && (parts.length === 3 || parts[3] > 0.5)) {
          found = parts;
        }
      });
      return Boolean(found) && 0.2126 * found[0] + 0.7152 * found[1] + 0.0722 * found[2] < 110;
    }

    function addStyle() {
      var settings = (typeof self.get_settings === 'function' && self.get_settings()) || self.params || {};
      var path = String(settings.cdn_path || settings.path || '').replace(/\/$/, '');
      if (path && $('link[data-owner="' + ROOT + '"]').length === 0) {
        $('<link>').attr({
          rel: 'stylesheet', 'data-owner': ROOT, href: path + '/style.css?v=' + encodeURIComponent(settings.version || '@VERSION@')
        }).appendTo('head');
      }
    }

    /* Where to draw: the place of the custom field, else the fields' block, else the window. */
    function place($body) {
      var found = null;
      ['[id$="_custom_content"]', '.widget_settings_block__fields'].some(function (selector) {
        var $found = $body.find(selector).first();
        found = $found.length > 0 ? $found : null;
        return found !== null;
      });
      return found || $body;
    }

    function draw($body) {
      var $place = place($body);
      var $root = $('<div>').addClass(ROOT).attr('data-scheme', isDark($place) ? 'dark' : 'light');
      $place.find('.' + ROOT).remove();
      view = { $body: $body, $root: $root, $content: element('div', 'content'), $status: element('p', 'status') };
      view.$status.attr({ role: 'status', 'data-kind': 'none' });
      $root.append(
        view.$content,
        view.$status,
        element('p', 'links').append(link('link', SUPPORT, text('support')), link('link', PRIVACY, text('privacy')))
      );
      /* Above the button that saves. */
      if ($place.hasClass('widget_settings_block__fields')) {
        $place.prepend($root);
      } else {
        $place.append($root);
      }
    }

    /* ---- what is done ---- */

    /* Resolves to whether the account is connected in the end; shows each step and never rejects. */
    function connect() {
      if (pending) {
        return pending;
      }
      if (!view || !view.login) {
        return $.when(connected);
      }
      var mine = session;
      var credentials = { login: String(view.login.val()).trim(), password: String(view.password.val()) };
      if (!account().amojo_id) {
        failed(failure('NO_AMOJO'));
        return $.when(false);
      }
      if (!credentials.login || !credentials.password) {
        (credentials.login ? view.password : view.login).attr('aria-invalid', 'true').trigger('focus');
        status('error', text('fill_in'));
        return $.when(false);
      }
      var ended = $.Deferred();
      pending = ended.promise();
      busy(text('connecting'));
      tryToConnect(credentials, RETRIES_MAX).always(function () {
        if (mine === session) {
          pending = null;
          busy();
        }
      }).then(function (answer) {
        if (mine === session) {
          showConnected(answer);
        }
        ended.resolve(mine === session);
      }, function (failedWith) {
        if (mine === session) {
          failed(failedWith);
          if (failedWith.code === 'WRONG_CREDENTIALS' && view) {
            view.password.val('').attr('aria-invalid', 'true').trigger('focus');
          }
        }
        /* A CRM that waits for us before it tells the server of the installation must be let through. */
        ended.resolve(failedWith.code === 'NOT_INSTALLED');
      });
      return pending;
    }

    function disconnect() {
      var mine = session;
      busy(text('disconnecting'));
      call('POST', '/widget/disconnect', { amojo_id: account().amojo_id }).then(function () {
        if (mine === session) {
          busy();
          showForm();
          status('done', text('disconnected'));
          remember({ state: 'disconnected' });
        }
      }, function (failedWith) {
        if (mine === session) {
          busy();
          failed(failedWith);
        }
      });
    }

    function look() {
      var mine = session;
      if (!account().amojo_id) {
        failed(failure('NO_AMOJO'));
        return;
      }
      busy(text('checking'));
      askState().then(function (answer) {
        return answer.state === 'connecting' ? settled(answer, RETRIES_MAX) : answer;
      }).then(function (answer) {
        if (mine === session) {
          busy();
          status('none');
          if (answer.state === 'connected') {
            showConnected(answer);
          } else if (answer.state === 'failed') {
            failed(failure('LAST_FAILED'));
          }
        }
      }, function (failedWith) {
        if (mine === session) {
          busy();
          /* Before the installation there is nothing to know. */
          if (failedWith.code === 'NOT_INSTALLED' || failedWith.code === 'NO_TOKEN') {
            status('none');
          } else {
            failed(failedWith);
          }
        }
      });
    }

    /* Also where nothing was saved yet: the server may go on with what failed here. */
    function isInstalled() {
      return typeof self.get_install_status !== 'function' || self.get_install_status() !== 'install';
    }

    function forget() {
      session += 1;
      pending = null;
      connected = false;
      if (view) {
        view.$root.remove();
        view = null;
      }
    }

    self.callbacks = {
      render: function () {
        return true;
      },
      init: function () {
        return true;
      },
      bind_actions: function () {
        return true;
      },
      settings: function ($body) {
        forget();
        addStyle();
        draw($($body));
        showForm();
        if (isInstalled()) {
          look();
        }
        return true;
      },
      onSave: function (params) {
        if (params && params.active === 'N') {
          forget();
          return true;
        }
        /* Installed where no form is shown, as from a list: the account is connected when the settings are opened. */
        if (connected || !view) {
          return true;
        }
        return connect();
      },
      destroy: function () {
        forget();
      },
      onAddAsSource: function () {
        return true;
      }
    };

    return self;
  };
});
