//! Whose pages may call, and which hosts are called back: addresses of accounts, and nothing else.

use amochats::crm::is_account_address;

/// The vendor's domains, and what the configuration adds.
pub(crate) struct Origins {
    more: Vec<String>,
}

impl Origins {
    pub(crate) fn new(more: &[String]) -> Self {
        Self { more: more.to_vec() }
    }

    /// Addresses beside the vendor's.
    pub(crate) fn more(&self) -> &[String] {
        &self.more
    }

    /// Whether it is the address of an account, exactly as a browser writes it.
    pub(crate) fn allows(&self, origin: &str) -> bool {
        is_account_address(origin) || self.more.iter().any(|known| known == origin)
    }

    /// The address that belongs to a `referer`: a host, which nobody has signed, so that only known
    /// ones are called. Some write it with a scheme.
    pub(crate) fn of_referer(&self, referer: &str) -> Option<String> {
        let host = referer.strip_prefix("https://").unwrap_or(referer);
        let address = format!("https://{}", host.strip_suffix('/').unwrap_or(host).to_ascii_lowercase());
        if is_account_address(&address) {
            return Some(address);
        }
        let host = referer.split_once("://").map_or(referer, |(_, host)| host);
        let known =
            self.more.iter().find(|known| known.split_once("://").is_some_and(|(_, own)| own == host));
        known.cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_accounts_are_called_back() {
        let origins = Origins::new(&["http://127.0.0.1:8081".into()]);
        for (referer, address) in [
            ("demo.amocrm.ru", Some("https://demo.amocrm.ru")),
            ("Demo.Kommo.com", Some("https://demo.kommo.com")),
            ("https://demo.amocrm.com/", Some("https://demo.amocrm.com")),
            ("127.0.0.1:8081", Some("http://127.0.0.1:8081")),
            ("127.0.0.1:8082", None),
            ("127.0.0.1", None),
            ("169.254.169.254", None),
            ("localhost", None),
            ("amocrm.ru", None),
            ("a.b.amocrm.ru", None),
            ("demo.amocrm.ru.evil.example", None),
            ("evil.example/demo.amocrm.ru", None),
            ("evil.example#.amocrm.ru", None),
            ("evil.example?.amocrm.ru", None),
            ("evil.example\\.amocrm.ru", None),
            ("user@demo.amocrm.ru", None),
            ("demo.amocrm.ru:8443", None),
            ("demo.amocrm.ru/path", None),
            ("http://demo.amocrm.ru", None),
            ("dëmo.amocrm.ru", None),
            ("demo .amocrm.ru", None),
            ("", None),
        ] {
            assert_eq!(origins.of_referer(referer).as_deref(), address, "{referer}");
        }
    }

    #[test]
    fn only_their_pages_may_call() {
        let origins = Origins::new(&["http://127.0.0.1:8081".into()]);
        assert!(origins.allows("https://demo.kommo.com") && origins.allows("http://127.0.0.1:8081"));
        for origin in ["null", "", "http://demo.amocrm.ru", "https://kommo.com", "https://evil.example"] {
            assert!(!origins.allows(origin), "{origin}");
        }
    }
}
