//! How the vectors write errors, and a key that must be refused.

use heartchain_chain::key::Signature;

/// A key of small order: the identity. With it, [`any_message`] is a signature over everything.
pub(super) const SMALL_ORDER: [u8; 32] = {
    let mut bytes = [0; 32];
    bytes[0] = 1;
    bytes
};

/// R is the identity, and s is 0.
pub(super) fn any_message() -> Signature {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    Signature::new(bytes)
}

/// The name of an error: its variants from the outside in, as in `Reading/Signature`.
pub(super) fn error_name(error: &impl core::fmt::Debug) -> String {
    let text = format!("{error:?}");
    let mut name: String = text.chars().take_while(|c| c.is_alphanumeric()).collect();
    let source = text.split_once("source: ").map(|(_, source)| source);
    let wrapped = text
        .strip_prefix(&name)
        .and_then(|rest| rest.strip_prefix('('));
    if let Some(inner) = source.or(wrapped) {
        let inner: String = inner
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '(')
            .collect();
        name = format!("{name}/{}", inner.replace('(', "/").trim_end_matches('/'));
    }
    name
}
