//! The seal under which private keys are stored: ChaCha20-Poly1305 (RFC 8439), under a key that is kept elsewhere.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::random;

/// Bytes of a sealing key.
const KEY_BYTES: usize = 32;
/// The form of what is sealed: this byte, a nonce, the sealed bytes with their tag.
const FORM: u8 = 1;

/// The keys that a sealing key may consist of: the one that seals, and those before it.
const KEYS: usize = 8;

/// Seals what is stored. It is never stored where that is. While it is being replaced it consists of the new key, which seals,
/// and of older ones, which open what they have sealed.
#[derive(Clone)]
pub struct SealingKey(Vec<Zeroizing<[u8; KEY_BYTES]>>);

/// Why something could not be opened, or a key not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealingError {
    /// The text is no key.
    #[error("it is no sealing key: expected 32 bytes in base64, as `openssl rand -base64 32` makes them, a key a line")]
    NoKey,
    /// Another key sealed it, or it was changed since.
    #[error("it was sealed with another key, or has been changed since")]
    OtherKey,
    /// It is not of the form that this version writes.
    #[error("it is not of a form that this version of Berth reads")]
    Form,
}

impl SealingKey {
    /// A new one.
    pub fn make() -> SealingKey {
        SealingKey(vec![Zeroizing::new(random())])
    }

    /// Reads one: 32 bytes in base64, and older ones in further lines.
    pub fn parse(text: &str) -> Result<SealingKey, SealingError> {
        let keys: Result<Vec<_>, _> = text.split_whitespace().map(parse_one).collect();
        let keys = keys?;
        if (1..=KEYS).contains(&keys.len()) { Ok(SealingKey(keys)) } else { Err(SealingError::NoKey) }
    }

    /// The key as text, for the one place that keeps it.
    pub fn reveal(&self) -> Zeroizing<String> {
        let lines: Vec<String> = self.0.iter().map(|key| STANDARD.encode(**key)).collect();
        Zeroizing::new(lines.join("\n"))
    }

    /// Seals bytes. They open only for the same purpose.
    pub fn seal(&self, purpose: &str, plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = random();
        let mut sealed = plain.to_vec();
        let nonce_of = Nonce::assume_unique_for_key(nonce);
        let done = aead(&self.0[0]).seal_in_place_append_tag(nonce_of, Aad::from(purpose.as_bytes()), &mut sealed);
        done.expect("what is sealed is far shorter than the cipher's limit");
        [&[FORM], nonce.as_slice(), &sealed].concat()
    }

    /// Opens what was sealed for a purpose.
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealingError> {
        let (&form, rest) = sealed.split_first().ok_or(SealingError::Form)?;
        let (nonce, rest) = rest.split_at_checked(NONCE_LEN).ok_or(SealingError::Form)?;
        if form != FORM {
            return Err(SealingError::Form);
        }
        let open = |key: &Zeroizing<[u8; KEY_BYTES]>| {
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut bytes = Zeroizing::new(rest.to_vec());
            let length = aead(key).open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut bytes).ok()?.len();
            bytes.truncate(length);
            Some(bytes)
        };
        self.0.iter().find_map(open).ok_or(SealingError::OtherKey)
    }
}

fn parse_one(text: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, SealingError> {
    let engines = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD];
    let bytes = engines.iter().find_map(|engine| engine.decode(text).ok()).map(Zeroizing::new);
    let bytes = bytes.ok_or(SealingError::NoKey)?;
    Ok(Zeroizing::new(bytes.as_slice().try_into().map_err(|_| SealingError::NoKey)?))
}

/// Each seal has a nonce of its own, at random: a cluster makes a handful of them in its life.
fn aead(key: &Zeroizing<[u8; KEY_BYTES]>) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &**key).expect("the key has the cipher's length"))
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_the_same_key_and_purpose_alone() {
        let (key, other) = (SealingKey::make(), SealingKey::make());
        let sealed = key.seal("authority", b"a private key");
        assert_eq!(key.open("authority", &sealed).unwrap().as_slice(), b"a private key");
        assert_eq!(other.open("authority", &sealed).unwrap_err(), SealingError::OtherKey);
        assert_eq!(key.open("something else", &sealed).unwrap_err(), SealingError::OtherKey);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open("authority", &changed).is_err(), "byte {at} was changed");
            assert!(key.open("authority", &sealed[..at]).is_err(), "cut at {at}");
        }
        assert!(!sealed.windows(7).any(|bytes| bytes == b"private"));
    }

    #[test]
    fn a_key_is_read_as_it_is_shown_and_as_openssl_makes_them() {
        let key = SealingKey::make();
        let sealed = key.seal("p", b"x");
        assert!(SealingKey::parse(&format!(" {}\n", &*key.reveal())).unwrap().open("p", &sealed).is_ok());
        assert!(SealingKey::parse("l8Fd1y8nJTYhxaZLzA0vP8R0BXOQFOtLhZL1ElyLxRk=\n").is_ok());
        for wrong in ["", "secret", "AAAA", &"A".repeat(60), "ß"] {
            assert_eq!(SealingKey::parse(wrong).unwrap_err(), SealingError::NoKey, "{wrong}");
        }
        assert_eq!(format!("{key:?}"), "SealingKey(…)");
    }

    #[test]
    fn while_a_key_is_replaced_the_new_one_seals_and_both_open() {
        let (old, new) = (SealingKey::make(), SealingKey::make());
        let sealed = old.seal("p", b"x");
        let both = SealingKey::parse(&format!("{}\n{}\n", &*new.reveal(), &*old.reveal())).unwrap();
        assert_eq!(both.open("p", &sealed).unwrap().as_slice(), b"x");
        let sealed = both.seal("p", b"y");
        assert_eq!(new.open("p", &sealed).unwrap().as_slice(), b"y");
        assert_eq!(old.open("p", &sealed).unwrap_err(), SealingError::OtherKey);
        assert_eq!(SealingKey::parse(&both.reveal()).unwrap().reveal(), both.reveal());
        assert!(SealingKey::parse(&format!("{}\n", &*new.reveal()).repeat(9)).is_err());
    }
}
