//! A file of logins, one `login:hash` a line, with Argon2id hashes.

use super::authorize::{Attempt, Authorizer};
use amochats::{Error, ErrorKind, Result};
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tokio::sync::Semaphore;

/// The longest login and password, in bytes.
pub(crate) const LOGIN_MAX: usize = 256;
pub(crate) const PASSWORD_MAX: usize = 1024;
/// Hashes at a time: each takes 19 MiB.
const AT_ONCE: usize = 2;

/// The logins of a file.
#[derive(Default)]
pub struct Users(BTreeMap<String, String>);

impl Users {
    /// Reads a file; one that is missing is empty.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] with the line that is wrong; its text is not quoted.
    pub fn read(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text)
                .map_err(|line| invalid(format!("line {line} of {} is not login:hash", path.display()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(invalid(format!("cannot read {}: {error}", path.display()))),
        }
    }

    /// The logins, or the number of the line that is wrong.
    fn parse(text: &str) -> std::result::Result<Self, usize> {
        let mut users = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let (login, hash) = line.trim_end().split_once(':').ok_or(number)?;
            let known =
                PasswordHash::new(hash).is_ok_and(|hash| hash.algorithm.as_str().starts_with("argon2"));
            if login.is_empty() || !known || users.insert(login.to_owned(), hash.to_owned()).is_some() {
                return Err(number);
            }
        }
        Ok(Self(users))
    }

    /// The logins, in order.
    pub fn logins(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Sets the password of a login; says whether the login is new.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a login or password that cannot be used.
    pub fn set(&mut self, login: &str, password: &SecretString) -> Result<bool> {
        let odd = |c: char| c == ':' || c.is_control();
        if login.is_empty() || login.len() > LOGIN_MAX || login.starts_with('#') || login.contains(odd) {
            let rule = format!("must be 1 to {LOGIN_MAX} bytes, without \":\", and not begin with \"#\"");
            return Err(Error::invalid("login", rule));
        }
        if login.trim() != login {
            return Err(Error::invalid("login", "must not begin or end with a blank"));
        }
        if !(8..=PASSWORD_MAX).contains(&password.expose_secret().len()) {
            return Err(Error::invalid("password", format!("must be 8 to {PASSWORD_MAX} bytes")));
        }
        Ok(self.0.insert(login.to_owned(), hash(password.expose_secret())).is_none())
    }

    /// Removes a login; says whether it was there.
    pub fn remove(&mut self, login: &str) -> bool {
        self.0.remove(login).is_some()
    }

    /// Writes the file anew, whole or not at all, readable by its owner alone.
    ///
    /// # Errors
    /// [`ErrorKind::StoreFailed`] where it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::StoreFailed, format!("cannot write {}: {error}", path.display()))
        };
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let new = path.with_file_name(name);
        let mut options = fs::OpenOptions::new();
        options.create_new(true).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let lines: Vec<String> = self.0.iter().map(|(login, hash)| format!("{login}:{hash}")).collect();
        let text = lines.join("\n") + if lines.is_empty() { "" } else { "\n" };
        let written = options.open(&new).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, path)
        });
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written.map_err(failed)
    }
}

fn invalid(said: String) -> Error {
    Error::new(ErrorKind::ConfigInvalid, said).with_field("widget.users_file")
}

fn hash(password: &str) -> String {
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.expect("the parameters are the crate's own, and the length was checked").to_string()
}

/// Lets in who is in a file. The file is read at each attempt, so that a change counts at once.
pub(crate) struct FileAuthorizer {
    path: PathBuf,
    /// What a login that is not there is compared with, so that it takes as long.
    nobody: String,
    /// Whether a password fits a hash; it is what an attempt costs.
    fits: fn(&[u8], &PasswordHash) -> bool,
    at_once: Semaphore,
}

fn fits(password: &[u8], hash: &PasswordHash) -> bool {
    Argon2::default().verify_password(password, hash).is_ok()
}

impl FileAuthorizer {
    pub(crate) fn new(path: &Path) -> Result<Self> {
        if !path.is_file() {
            let rule = "make it with `amochats widget user add --file FILE LOGIN`";
            return Err(invalid(format!("widget.users_file: {} is not there; {rule}", path.display())));
        }
        Users::read(path)?;
        let nobody = hash(&super::seal::new_key());
        Ok(Self { path: path.to_owned(), nobody, fits, at_once: Semaphore::new(AT_ONCE) })
    }
}

#[async_trait]
impl Authorizer for FileAuthorizer {
    async fn authorize(&self, attempt: &Attempt) -> Result<bool> {
        let _turn = self.at_once.acquire().await.expect("it is never closed");
        let (path, nobody, fits) = (self.path.clone(), self.nobody.clone(), self.fits);
        let (login, password) = (attempt.login.clone(), attempt.password.clone());
        let decided = tokio::task::spawn_blocking(move || {
            let users = Users::read(&path)?;
            let (hash, known) = users.0.get(&login).map_or((&nobody, false), |hash| (hash, true));
            let hash = PasswordHash::new(hash).map_err(|_| invalid("a hash cannot be read".into()))?;
            // First, whoever it is.
            let fits = fits(password.expose_secret().as_bytes(), &hash);
            Ok(fits && known)
        });
        decided.await.map_err(|_| Error::new(ErrorKind::Closed, "the runtime stops"))?
    }

    fn name(&self) -> &'static str {
        "users_file"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amochats::AccountId;
    use std::sync::Mutex;

    #[test]
    fn a_broken_file_is_named_by_line_and_not_quoted() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users");
        for (text, line) in [
            ("hunter2\n", 1),
            ("# logins\n\na:plain\n", 3),
            (":$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo\n", 1),
            ("a:$pbkdf2$v=19$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo\n", 1),
        ] {
            fs::write(&path, text).expect("written");
            let error = Users::read(&path).err().expect(text).to_string();
            assert!(error.contains(&format!("line {line} of")), "{error}");
            assert!(!error.contains("hunter2") && !error.contains("plain"), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_a_login_is_refused() {
        let mut users = Users::default();
        let good = SecretString::from("a good password");
        for login in ["", "a:b", "#a", " a", "a\n", &"x".repeat(LOGIN_MAX + 1)] {
            assert_eq!(users.set(login, &good).expect_err(login).field(), Some("login"));
        }
        for password in ["", "short", &"x".repeat(PASSWORD_MAX + 1)] {
            assert_eq!(users.set("a", &password.into()).expect_err(password).field(), Some("password"));
        }
        assert_eq!(users.logins().count(), 0);
    }

    static VERIFIED: Mutex<Vec<String>> = Mutex::new(Vec::new());

    /// The parameters are what a verification costs.
    fn counted(_password: &[u8], hash: &PasswordHash) -> bool {
        VERIFIED.lock().expect("no test fails with it").push(format!("{} {}", hash.algorithm, hash.params));
        true
    }

    #[tokio::test]
    async fn an_unknown_login_costs_as_much_as_a_known_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users");
        let mut users = Users::default();
        users.set("known", &SecretString::from("a good password")).expect("a login");
        users.write(&path).expect("written");
        let authorizer = FileAuthorizer { fits: counted, ..FileAuthorizer::new(&path).expect("a file") };
        for (login, may) in [("known", true), ("unknown", false)] {
            let attempt = Attempt {
                login: login.into(),
                password: "a password".into(),
                client_id: "integration".into(),
                crm_account_id: 1,
                crm_user_id: 2,
                origin: "https://demo.amocrm.ru".into(),
                account_id: AccountId::new("account"),
                peer: [192, 0, 2, 1].into(),
            };
            // The hash that stands in for a missing one fits nobody, even where it does.
            assert_eq!(authorizer.authorize(&attempt).await.expect("decided"), may, "{login}");
        }
        let verified = VERIFIED.lock().expect("no test fails with it");
        assert_eq!(verified.len(), 2, "one verification each");
        assert_eq!(verified[0], verified[1], "of the same cost");
    }
}
