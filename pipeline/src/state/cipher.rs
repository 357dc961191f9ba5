//! Encryption of state files: AES-256-GCM with a key from the environment, so that whoever reads the store learns neither
//! identifiers nor texts from the state. The tables are what they are published for and stay as they are.

use std::sync::LazyLock;

use bytes::Bytes;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use super::StateError;

/// The environment variable with the key: 64 hexadecimal digits.
pub const KEY_VARIABLE: &str = "CONTACTFLOW_STATE_KEY";
/// What an encrypted file begins with.
const MAGIC: &[u8] = b"CFSTATE1";

/// The key of this process, or what is wrong with it.
static KEY: LazyLock<Result<Option<LessSafeKey>, String>> = LazyLock::new(|| match std::env::var(KEY_VARIABLE) {
    Ok(digits) => key(&digits).map(Some),
    Err(std::env::VarError::NotPresent) => Ok(None),
    Err(std::env::VarError::NotUnicode(_)) => Err("it is not text".to_owned()),
});

/// Parses a key; the error never quotes it.
fn key(digits: &str) -> Result<LessSafeKey, String> {
    let digits = digits.trim();
    let byte = |index: usize| digits.get(index..index + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    let bytes = bytes.filter(|bytes| bytes.len() == AES_256_GCM.key_len());
    let bytes = bytes.ok_or_else(|| "expected 64 hexadecimal digits; `openssl rand -hex 32` makes some".to_owned())?;
    UnboundKey::new(&AES_256_GCM, &bytes).map(LessSafeKey::new).map_err(|_| "it is no key of AES-256".to_owned())
}

fn own_key() -> Result<Option<&'static LessSafeKey>, StateError> {
    match &*KEY {
        Ok(key) => Ok(key.as_ref()),
        Err(problem) => Err(StateError::Key { problem: problem.clone() }),
    }
}

/// What two processes compare to know that they have the same key: the first half of its hash, which tells nothing of a random
/// key. None without one.
///
/// # Errors
/// [`StateError::Key`].
pub fn key_fingerprint() -> Result<Option<String>, StateError> {
    own_key()?;
    let digits = std::env::var(KEY_VARIABLE).ok();
    Ok(digits.map(|digits| crate::sink::sha256_hex(digits.trim().to_lowercase().as_bytes())[..32].to_owned()))
}

/// What is stored of a file: encrypted where there is a key.
///
/// # Errors
/// [`StateError::Key`].
pub(super) fn seal(body: Bytes) -> Result<Bytes, StateError> {
    match own_key()? {
        Some(key) => seal_with(key, &body),
        None => Ok(body),
    }
}

/// A stored file as it was before [`seal`]. A file that was stored without a key is read with one too.
///
/// # Errors
/// [`StateError::Key`] when the key is missing or another.
pub(super) fn unseal(body: Bytes, path: &str) -> Result<Bytes, StateError> {
    if !body.starts_with(MAGIC) {
        return Ok(body);
    }
    let Some(key) = own_key()? else {
        return Err(StateError::Key { problem: format!("{path} is encrypted and there is no key") });
    };
    unseal_with(key, &body).ok_or_else(|| StateError::Key { problem: format!("{path} was encrypted with another key") })
}

fn seal_with(key: &LessSafeKey, body: &[u8]) -> Result<Bytes, StateError> {
    let failed = |_| StateError::Key { problem: "encryption failed".to_owned() };
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).map_err(failed)?;
    let mut sealed = Vec::with_capacity(MAGIC.len() + NONCE_LEN + body.len() + AES_256_GCM.tag_len());
    sealed.extend_from_slice(MAGIC);
    sealed.extend_from_slice(&nonce);
    let start = sealed.len();
    sealed.extend_from_slice(body);
    let tag = key
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed[start..])
        .map_err(failed)?;
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed.into())
}

fn unseal_with(key: &LessSafeKey, body: &[u8]) -> Option<Bytes> {
    let (nonce, sealed) = body.strip_prefix(MAGIC)?.split_at_checked(NONCE_LEN)?;
    let mut sealed = sealed.to_vec();
    let length =
        key.open_in_place(Nonce::try_assume_unique_for_key(nonce).ok()?, Aad::empty(), &mut sealed).ok()?.len();
    sealed.truncate(length);
    Some(sealed.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_opens_and_a_changed_byte_does_not() {
        let (own, other) = (key(&"ab".repeat(32)).expect("a key"), key(&"cd".repeat(32)).expect("a key"));
        let sealed = seal_with(&own, b"who wrote what").expect("seals");
        assert!(!sealed.windows(9).any(|window| window == b"who wrote"));
        assert_ne!(sealed, seal_with(&own, b"who wrote what").expect("seals"), "no nonce comes twice");
        assert_eq!(unseal_with(&own, &sealed).as_deref(), Some(&b"who wrote what"[..]));
        assert_eq!(unseal_with(&other, &sealed), None);
        let mut changed = sealed.to_vec();
        changed[MAGIC.len() + NONCE_LEN + 3] ^= 1;
        assert_eq!(unseal_with(&own, &changed), None);
        assert_eq!(unseal_with(&own, &sealed[..MAGIC.len() + 4]), None);
    }

    #[test]
    fn a_bad_key_is_told_and_not_shown() {
        for bad in ["", "abc", &"zz".repeat(32), &"ab".repeat(31), "é".repeat(32).as_str()] {
            let problem = key(bad).expect_err("no key");
            assert!(
                problem.contains("64 hexadecimal digits") && (bad.is_empty() || !problem.contains(bad)),
                "{problem}"
            );
        }
    }
}
