//! `channel request`: the letter with which support is asked to register a channel (chats API
//! reference, section 10).

use super::{Exit, Failure, io};
use clap::{Args, ValueEnum};
use std::fs;
use std::path::{Path, PathBuf};

/// The largest icon, in bytes.
const ICON_MAX: u64 = 100 * 1024;
/// Its width and height.
const ICON_SIDE: f64 = 14.0;

/// Write the letter that asks for a channel.
#[derive(clap::Subcommand)]
pub(super) enum Channel {
    Request(Box<Request>),
}

impl Channel {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Request(request) => request.run(),
        }
    }
}

/// Print the letter to the vendor's support, or name what it still lacks.
///
/// Channels are not registered by oneself: send the letter from the account's support chat. It takes one
/// to three working days.
#[derive(Args)]
#[command(after_help = "\
Exit codes: 0 the letter is complete; 1 something is missing or not as support takes it; each is named.

Example:
  amochats channel request --region ru --service-name Example --email ops@example.org \\
    --webhook-url https://chat.example.org/webhook/:scope_id --icon icon.svg \\
    --account 13fa84f7-6b61-4086-98ed-0a9de19ee15c \\
    --client-id 11111111-2222-4333-8444-555555555555 --widget-code example_widget \\
    --write-first no --time-window none --similar 'none is known to us' \\
    --stores-files yes --reactions none --quoting yes --voice yes --typing no")]
pub(super) struct Request {
    /// Where the channel is to be: decides what is asked, and the letter's language.
    #[arg(long, value_enum)]
    region: Option<Region>,
    /// The service's name: Latin letters, not beginning with a digit. Shown under the contact.
    #[arg(long)]
    service_name: Option<String>,
    /// Where webhooks go: https, with `:scope_id` where the vendor fills in the scope.
    #[arg(long, value_name = "URL")]
    webhook_url: Option<String>,
    /// An account of the private phase, by its `amojo_id` (`amochats account id` asks for it). May be
    /// repeated for amoCRM; Kommo takes one.
    #[arg(long = "account", value_name = "AMOJO_ID")]
    accounts: Vec<String>,
    /// The address for news of failures.
    #[arg(long)]
    email: Option<String>,
    /// The icon: SVG, 14x14, round or fitting a circle, up to 100 KB.
    #[arg(long, value_name = "FILE")]
    icon: Option<PathBuf>,
    /// The integration's id.
    #[arg(long, value_name = "UUID")]
    client_id: Option<String>,
    /// The widget's code.
    #[arg(long, value_name = "CODE")]
    widget_code: Option<String>,
    /// Whether CRM users may write first.
    #[arg(long, value_enum)]
    write_first: Option<Answer>,
    /// After how many seconds of a client's silence only templates may be sent; or none.
    #[arg(long, value_name = "SECONDS|none")]
    time_window: Option<String>,
    /// Whether everybody may connect the channel, later; it begins private in any case.
    #[arg(long)]
    public: bool,
    /// Similar solutions that there are, and what is different here. Required in amoCRM.
    #[arg(long, value_name = "TEXT")]
    similar: Option<String>,
    /// Whether the service stores files that are sent.
    #[arg(long, value_enum)]
    stores_files: Option<Answer>,
    /// The largest file, in megabytes.
    #[arg(long, value_name = "MB")]
    max_file_size: Option<u32>,
    /// The reactions that the service knows, as emoji without blanks; or none.
    #[arg(long, value_name = "EMOJI|none")]
    reactions: Option<String>,
    /// Whether messages can be quoted.
    #[arg(long, value_enum)]
    quoting: Option<Answer>,
    /// Whether there are voice messages.
    #[arg(long, value_enum)]
    voice: Option<Answer>,
    /// Whether the service wants to be told that a CRM user is typing.
    #[arg(long, value_enum)]
    typing: Option<Answer>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Region {
    /// amoCRM; the letter is Russian.
    Ru,
    /// Kommo; the letter is English.
    Kommo,
}

#[derive(Clone, Copy, ValueEnum)]
enum Answer {
    Yes,
    No,
}

/// A letter that grows, and what it lacks.
struct Letter {
    region: Region,
    lines: Vec<String>,
    missing: Vec<String>,
}

impl Letter {
    fn pick<'a>(&self, english: &'a str, russian: &'a str) -> &'a str {
        if self.region == Region::Ru { russian } else { english }
    }

    fn line(&mut self, english: &str, russian: &str, value: &str) {
        let label = self.pick(english, russian);
        self.lines.push(format!("{}. {label}: {value}", self.lines.len() + 1));
    }

    fn lacks(&mut self, flag: &str, rule: &str) {
        self.missing.push(format!("--{flag} {rule}"));
    }

    /// A line that must be there, and pass a check.
    fn text(
        &mut self,
        (flag, english, russian): (&str, &str, &str),
        value: Option<&String>,
        rule: &str,
        check: impl Fn(&str) -> bool,
    ) {
        match value {
            Some(value) if check(value) => self.line(english, russian, value),
            Some(_) => self.lacks(flag, &format!("must be {rule}")),
            None => self.lacks(flag, &format!("is missing: {rule}")),
        }
    }

    /// A question of yes and no; Kommo leaves some open.
    fn question(
        &mut self,
        (flag, english, russian): (&str, &str, &str),
        value: Option<Answer>,
        needed: bool,
    ) {
        match value {
            Some(Answer::Yes) => self.line(english, russian, self.pick("yes", "да").to_owned().as_str()),
            Some(Answer::No) => self.line(english, russian, self.pick("no", "нет").to_owned().as_str()),
            None if needed => self.lacks(flag, "is missing: yes or no"),
            None => {}
        }
    }
}

impl Request {
    fn run(self) -> Result<Exit, Failure> {
        let Some(region) = self.region else {
            return Err(Failure::no("the letter lacks: --region is missing: ru or kommo"));
        };
        let letter = self.letter(region)?;
        if !letter.missing.is_empty() {
            return Err(Failure::no(format!("the letter lacks: {}", letter.missing.join("; "))));
        }
        let (greeting, end) = (
            letter.pick(
                "Hello! Please register a channel of the Chats API.",
                "Здравствуйте! Просим зарегистрировать канал API чатов.",
            ),
            letter.pick(
                "The icon is attached. Please send us the channel's code, id and secret key, and the id, \
                 client_id and name of its bot.",
                "Иконка приложена. Просим прислать код, id и секретный ключ канала, а также id, client_id и имя бота.",
            ),
        );
        io::print(&format!("{greeting}\n\n{}\n\n{end}", letter.lines.join("\n")))?;
        Ok(Exit::Ok)
    }

    fn letter(&self, region: Region) -> Result<Letter, Failure> {
        let is_ru = region == Region::Ru;
        let mut letter = Letter { region, lines: Vec::new(), missing: Vec::new() };
        letter.text(
            ("service-name", "Service name", "Название сервиса"),
            self.service_name.as_ref(),
            "Latin letters, digits, blanks, not beginning with a digit",
            |name| {
                name.starts_with(|c: char| c.is_ascii_alphabetic())
                    && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.'))
            },
        );
        letter.text(
            ("webhook-url", "Webhook URL", "Адрес для веб-хуков"),
            self.webhook_url.as_ref(),
            "an https address with :scope_id in its path, as https://chat.example.org/webhook/:scope_id",
            is_webhook,
        );
        self.accounts(&mut letter);
        letter.text(
            ("email", "E-mail for failures", "E-mail для сообщений о сбоях"),
            self.email.as_ref(),
            "an e-mail address",
            |email| {
                let parts = email.split_once('@');
                parts
                    .is_some_and(|(user, host)| !user.is_empty() && host.contains('.') && !host.contains('@'))
                    && !email.contains(char::is_whitespace)
            },
        );
        match &self.icon {
            None => letter.lacks("icon", "is missing: an SVG of 14x14, up to 100 KB"),
            Some(path) => match icon(path)? {
                Ok(size) => {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    letter.line("Icon, SVG 14x14", "Иконка, SVG 14x14", &format!("{name} ({size} B)"));
                }
                Err(rule) => letter.lacks("icon", rule),
            },
        }
        letter.text(
            ("client-id", "Integration id (client_uuid)", "ID интеграции (client_uuid)"),
            self.client_id.as_ref(),
            "the integration's UUID",
            is_uuid,
        );
        letter.text(
            ("widget-code", "Widget code", "Код виджета"),
            self.widget_code.as_ref(),
            "the code that the CRM gave the widget",
            |code| {
                !code.is_empty() && code.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
            },
        );
        letter.question(
            ("write-first", "CRM users may write first", "Возможность писать первым"),
            self.write_first,
            is_ru,
        );
        self.window(&mut letter);
        let (public, private) = (
            letter.pick(
                "private first, public after your check",
                "сначала приватный, публичный после проверки",
            ),
            letter.pick("private", "приватный"),
        );
        letter.line("Kind of channel", "Тип канала", if self.public { public } else { private });
        match &self.similar {
            Some(text) if !text.trim().is_empty() => letter.line(
                "Similar solutions, and what is different",
                "Похожие решения и отличия от них",
                text.trim(),
            ),
            _ if is_ru => letter.lacks("similar", "is missing: what there is, and what is different here"),
            _ => {}
        }
        self.abilities(&mut letter);
        Ok(letter)
    }

    /// What the service can do.
    fn abilities(&self, letter: &mut Letter) {
        let is_ru = letter.region == Region::Ru;
        letter.question(
            ("stores-files", "The service stores files", "Сервис хранит файлы"),
            self.stores_files,
            is_ru,
        );
        if let Some(size) = self.max_file_size {
            letter.line("Largest file, MB", "Максимальный размер файла, МБ", &size.to_string());
        }
        match self.reactions.as_deref() {
            Some("none") => {
                letter.line("Reactions", "Реакции", letter.pick("none", "нет").to_owned().as_str());
            }
            Some(list)
                if !list.is_empty()
                    && !list.chars().any(|c| c.is_ascii_alphabetic() || c.is_whitespace()) =>
            {
                letter.line("Reactions", "Реакции", list);
            }
            Some(_) => letter.lacks("reactions", "must be emoji without blanks, or none"),
            None if is_ru => letter.lacks("reactions", "is missing: the emoji, or none"),
            None => {}
        }
        letter.question(("quoting", "Quoting of messages", "Цитирование сообщений"), self.quoting, is_ru);
        letter.question(("voice", "Voice messages", "Голосовые сообщения"), self.voice, is_ru);
        letter.question(
            ("typing", "Webhooks about typing, please", "Просим включить веб-хуки о наборе текста"),
            self.typing,
            false,
        );
    }

    fn accounts(&self, letter: &mut Letter) {
        let odd = self.accounts.iter().any(|account| !is_uuid(account));
        match (self.accounts.len(), letter.region) {
            (0, _) => letter
                .lacks("account", "is missing: an account's amojo_id; `amochats account id` asks for it"),
            _ if odd => letter
                .lacks("account", "must be an amojo_id, a UUID; the number of the account is another id"),
            (2.., Region::Kommo) => letter.lacks("account", "must be one: Kommo takes one account"),
            _ => letter.line("Accounts (amojo_id)", "Аккаунты (amojo_id)", &self.accounts.join(", ")),
        }
    }

    fn window(&self, letter: &mut Letter) {
        let (english, russian) = ("Time window, seconds", "Временное окно, секунд");
        match self.time_window.as_deref() {
            Some("none") => letter.line(english, russian, letter.pick("none", "нет").to_owned().as_str()),
            Some(seconds) if seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0) => {
                letter.line(english, russian, seconds);
            }
            Some(_) => letter.lacks("time-window", "must be a number of seconds, or none"),
            None if letter.region == Region::Ru => {
                letter.lacks("time-window", "is missing: seconds, or none");
            }
            None => {}
        }
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.parse::<uuid::Uuid>().is_ok()
}

fn is_webhook(text: &str) -> bool {
    let Ok(url) = text.parse::<reqwest::Url>() else { return false };
    url.scheme() == "https"
        && url.host_str().is_some_and(|host| host.contains('.'))
        && url.query().is_none()
        && url.fragment().is_none()
        && url.path().split('/').filter(|part| *part == ":scope_id").count() == 1
}

/// The icon's size in bytes, or the rule that it breaks.
fn icon(path: &Path) -> Result<Result<u64, &'static str>, Failure> {
    let cannot = |error| Failure::failed(format!("cannot read {}: {error}", path.display()));
    let size = fs::metadata(path).map_err(cannot)?.len();
    if size > ICON_MAX {
        return Ok(Err("must be at most 100 KB"));
    }
    let bytes = fs::read(path).map_err(cannot)?;
    let Some(document) =
        std::str::from_utf8(&bytes).ok().and_then(|text| roxmltree::Document::parse(text).ok())
    else {
        return Ok(Err("must be SVG: this is not XML"));
    };
    let root = document.root_element();
    if root.tag_name().name() != "svg" {
        return Ok(Err("must be SVG: its first element is not <svg>"));
    }
    let side =
        |name: &str| root.attribute(name).map(|text| text.trim_end_matches("px").trim().parse::<f64>());
    let is_14 = |value: f64| (value - ICON_SIDE).abs() < f64::EPSILON;
    let sides = (side("width"), side("height"));
    let fits = if let (Some(width), Some(height)) = sides {
        width.is_ok_and(is_14) && height.is_ok_and(is_14)
    } else {
        let view = root.attribute("viewBox").unwrap_or_default();
        let parts = view.split([' ', ',']).filter(|part| !part.is_empty());
        let view: Vec<f64> = parts.filter_map(|part| part.parse().ok()).collect();
        matches!(view[..], [_, _, width, height] if is_14(width) && is_14(height))
    };
    if !fits {
        return Ok(Err("must be 14x14: set width and height, or the viewBox, to 14"));
    }
    let active = document.descendants().any(|node| {
        let reference = |attribute: &roxmltree::Attribute<'_, '_>| {
            let outside = attribute.name() == "href" && !attribute.value().starts_with(['#', 'd']);
            outside || attribute.name().starts_with("on")
        };
        node.tag_name().name() == "script" || node.attributes().any(|attribute| reference(&attribute))
    });
    if active {
        return Ok(Err("must be a plain picture, without scripts and without references to other files"));
    }
    Ok(Ok(size))
}
