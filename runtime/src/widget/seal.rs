//! Secrets at rest: XChaCha20-Poly1305, with keys that can be changed.
//!
//! What is sealed is `1 | key id (4) | nonce (24) | ciphertext and tag`. The place where it is kept is
//! authenticated with it, so that nobody can move one account's tokens to another.

use amochats::{Error, ErrorKind, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};

const VERSION: u8 = 1;
const ID: usize = 4;
const NONCE: usize = 24;
const KEY: usize = 32;

/// Seals with one key and opens with several.
pub(crate) struct Sealer {
    /// The first one seals.
    keys: Vec<Key>,
}

struct Key {
    id: [u8; ID],
    cipher: XChaCha20Poly1305,
}

impl Key {
    /// Reads 32 bytes in base64.
    fn new(name: &str, text: &str) -> Result<Self> {
        let bytes = STANDARD.decode(text.trim()).ok().filter(|bytes| bytes.len() == KEY);
        let bytes = bytes.ok_or_else(|| {
            Error::new(
                ErrorKind::ConfigInvalid,
                format!("{name}: must be 32 random bytes in base64; `amochats widget key` makes one"),
            )
            .with_field(name)
        })?;
        let digest = Sha256::digest([b"amochats key id".as_slice(), &bytes].concat());
        let cipher = XChaCha20Poly1305::new_from_slice(&bytes).expect("the length was checked");
        Ok(Self { id: digest[..ID].try_into().expect("a digest is longer"), cipher })
    }
}

/// What was sealed.
pub(crate) struct Opened {
    pub(crate) plain: Vec<u8>,
    /// It was sealed with a key that is being given up.
    pub(crate) stale: bool,
}

impl Sealer {
    pub(crate) fn new(key: &str, old_keys: &[String]) -> Result<Self> {
        let mut keys = vec![Key::new("widget.key", key)?];
        for old in old_keys {
            keys.push(Key::new("widget.old_keys", old)?);
        }
        Ok(Self { keys })
    }

    /// Seals for this place.
    pub(crate) fn seal(&self, place: &str, plain: &[u8]) -> Vec<u8> {
        let Key { id, cipher } = &self.keys[0];
        let nonce: [u8; NONCE] = rand::random();
        let payload = Payload { msg: plain, aad: place.as_bytes() };
        let sealed = cipher.encrypt(&XNonce::from(nonce), payload).expect("memory takes a few hundred bytes");
        [&[VERSION], &id[..], &nonce, &sealed].concat()
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] where its key is missing; [`ErrorKind::StoreFailed`] where it was
    /// altered or belongs to another place.
    pub(crate) fn open(&self, place: &str, sealed: &[u8]) -> Result<Opened> {
        let damaged = || Error::new(ErrorKind::StoreFailed, "what is kept encrypted was altered, or moved");
        let (head, rest) = sealed.split_at_checked(1 + ID).ok_or_else(damaged)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>().ok_or_else(damaged)?;
        if head[0] != VERSION {
            return Err(Error::new(ErrorKind::StoreFailed, "what is kept encrypted is of a later version"));
        }
        let at = self.keys.iter().position(|key| key.id == head[1..]).ok_or_else(|| {
            let rule = "widget.key: tokens are kept under another key; put that one into widget.old_keys";
            Error::new(ErrorKind::ConfigInvalid, rule).with_field("widget.key")
        })?;
        let payload = Payload { msg: sealed, aad: place.as_bytes() };
        let plain = self.keys[at].cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| damaged())?;
        Ok(Opened { plain, stale: at > 0 })
    }
}

/// A new key, as the configuration takes it.
pub fn new_key() -> String {
    STANDARD.encode(rand::random::<[u8; KEY]>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_in_its_place_alone() {
        let sealer = Sealer::new(&new_key(), &[]).expect("a key");
        let sealed = sealer.seal("account/a", b"hunter2");
        assert!(!sealed.windows(7).any(|bytes| bytes == b"hunter2"));
        let opened = sealer.open("account/a", &sealed).expect("opens");
        assert_eq!((opened.plain.as_slice(), opened.stale), (b"hunter2".as_slice(), false));
        assert_ne!(sealer.seal("account/a", b"hunter2"), sealed, "a nonce is used once");
        assert!(sealer.open("account/b", &sealed).is_err(), "moved");
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(sealer.open("account/a", &altered).is_err(), "byte {at}");
            assert!(sealer.open("account/a", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn keys_can_be_changed() {
        let (old, new) = (new_key(), new_key());
        let sealed = Sealer::new(&old, &[]).expect("a key").seal("p", b"x");
        let both = Sealer::new(&new, &[old]).expect("keys");
        assert!(both.open("p", &sealed).expect("opens").stale);
        let without = Sealer::new(&new, &[]).expect("a key").open("p", &sealed).err().expect("no key");
        assert_eq!(without.field(), Some("widget.key"));
        for text in ["", "short", "ä", &"A".repeat(44)] {
            let error = Sealer::new(text, &[]).err().expect("no key");
            assert!(error.to_string().contains("amochats widget key") && !error.to_string().contains("AAA"));
        }
    }
}
