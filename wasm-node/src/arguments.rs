//! Parses and checks the arguments that JavaScript passes. A value of the wrong type or range is refused with a
//! descriptive error; nothing is coerced.

mod blocks;
mod document;
mod entries;
mod fields;
mod room_link;

use heartchain_chain::{
    block::Block,
    bpm::Bpm,
    content::ReadingForm,
    hash::RoomId,
    profile::ProfileName,
    room::{Room, RoomName, RoomParams},
};
use heartchain_sync::message::GossipItem;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;

use self::{
    blocks::reading,
    fields::{field, whole},
};
pub(crate) use self::{
    blocks::{BlockArgumentError, block},
    document::{BlockChunk, Document, DocumentError, FORMAT},
    room_link::{RoomLinkError, open as open_room_link, write as room_link},
};
use heartchain_peer::net::{
    IceServer, MAX_ICE_SERVERS, NamedPeer, PageScheme, RelayAddress, Scope, WANTED_PEERS,
};

use crate::{api_error::ApiError, document_reader, storage::MAX_ROOM_LABEL_LEN};

/// The room that a tab joins by default.
const DEFAULT_ROOM: &str = "lobby";
/// The longest passphrase of a move file, in bytes of UTF-8.
const MAX_PASSPHRASE_LEN: usize = 1_024;
/// The options of `HeartchainNode.start`.
const OPTION_NAMES: [&str; 10] = [
    "room",
    "relays",
    "peers",
    "direct",
    "iceServers",
    "relayDocument",
    "minerUrl",
    "verifierUrl",
    "storage",
    "wasmModule",
];
/// Letters of an unknown option that are repeated in the error.
const MAX_SHOWN_NAME: usize = 32;
/// The highest mining limit that makes sense, in hashes per second: no worker reaches it.
const MAX_MINING_LIMIT: u32 = 1_000_000_000;
/// Peers in the option `peers`: as many as a tab looks for on its own.
const MAX_NAMED_PEERS: usize = WANTED_PEERS;

/// What is wrong with an argument.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ArgumentError {
    /// The argument is not of the documented type.
    #[error("{name} must be {expected}")]
    Type {
        /// The argument's name.
        name: &'static str,
        /// What the argument must be.
        expected: &'static str,
    },
    /// The list is too long.
    #[error("{name} has more than the {max} entries allowed")]
    TooMany {
        /// The argument's name.
        name: &'static str,
        /// The most entries that are allowed.
        max: usize,
    },
    /// No option has this name: it may be misspelt.
    #[error("there is no option {name:?}; the options are {known}")]
    UnknownOption {
        /// The option's name, shortened.
        name: String,
        /// The names of all options.
        known: String,
    },
    /// The value is not a valid heart rate.
    #[error("a heart rate is a whole number from {min} to {max}, not {found}")]
    Bpm {
        /// The value that was given, as text.
        found: String,
        /// The lowest valid heart rate.
        min: u16,
        /// The highest valid heart rate.
        max: u16,
    },
}

/// The options of `HeartchainNode.start`, checked.
pub(crate) struct Options {
    pub(crate) room: Room,
    /// What the link of a private room calls it.
    pub(crate) label: Option<String>,
    /// Decides which relays this tab may dial.
    pub(crate) scheme: PageScheme,
    /// How far the page's own address reaches.
    pub(crate) scope: Scope,
    /// Includes the relays of the configured `peers`.
    pub(crate) relays: Vec<RelayAddress>,
    pub(crate) peers: Vec<NamedPeer>,
    pub(crate) direct: bool,
    pub(crate) ice_servers: Option<Vec<IceServer>>,
    pub(crate) relay_document: Option<String>,
    pub(crate) miner_url: Option<String>,
    pub(crate) verifier_url: Option<String>,
    pub(crate) wasm_module: JsValue,
    /// Whether to store nothing on disk.
    pub(crate) in_memory: bool,
}

/// What is between two fields of a CSV. Spreadsheets expect a semicolon where numbers have a decimal comma.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Separator {
    Comma,
    Semicolon,
    Tab,
}

impl Separator {
    /// The separator itself.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Comma => ",",
            Self::Semicolon => ";",
            Self::Tab => "\t",
        }
    }
}

impl Options {
    pub(crate) fn read(options: &JsValue) -> Result<Self, ApiError> {
        refuse_unknown(options, &OPTION_NAMES)?;
        let (room, label) = room(options)?;
        let scheme = page_scheme();
        let peers = peers(options, scheme)?;
        let mut relays = relays(options, scheme)?;
        for relay in peers.iter().filter_map(NamedPeer::relay) {
            if !relays.contains(relay) {
                relays.push(relay.clone());
            }
        }
        let module = field(options, "wasmModule").unwrap_or_else(wasm_bindgen::module);
        Ok(Self {
            room,
            label,
            scheme,
            scope: relays
                .iter()
                .map(RelayAddress::scope)
                .fold(page_scope(), Scope::max),
            relays,
            peers,
            direct: flag(options, "direct")?.unwrap_or(true),
            ice_servers: ice_servers(options)?,
            relay_document: text(options, "relayDocument")?
                .or_else(document_reader::default_document),
            miner_url: text(options, "minerUrl")?,
            verifier_url: text(options, "verifierUrl")?,
            wasm_module: module,
            in_memory: in_memory(options)?,
        })
    }
}

/// Parses the option `room`: the name of an open room, or `{ link }` of a private one.
fn room(options: &JsValue) -> Result<(Room, Option<String>), ApiError> {
    let given = field(options, "room").unwrap_or_else(|| DEFAULT_ROOM.into());
    if let Some(name) = given.as_string() {
        let name = RoomName::with_nfc_check(&name, is_nfc)?;
        return Ok((Room::new(RoomParams::with_defaults(name)), None));
    }
    let link = field(&given, "link").and_then(|link| link.as_string());
    let link = link.ok_or(ArgumentError::Type {
        name: "room",
        expected: "a string or { link }",
    })?;
    let room = Room::private(room_link::read(&link)?);
    Ok((room, room_link::label(&link)))
}

/// Parses the label of a room, which is optional.
pub(crate) fn label(value: &JsValue) -> Result<String, ArgumentError> {
    if value.is_undefined() || value.is_null() {
        return Ok(String::new());
    }
    let label = value.as_string();
    let label = label.filter(|label| label.len() <= MAX_ROOM_LABEL_LEN);
    label.ok_or(ArgumentError::Type {
        name: "label",
        expected: "a string of at most 64 bytes",
    })
}

/// Refuses options that are not an object, and names that do not exist: a misspelt `room` would join another room.
fn refuse_unknown(options: &JsValue, known: &[&str]) -> Result<(), ArgumentError> {
    if options.is_undefined() || options.is_null() {
        return Ok(());
    }
    let Some(options) = options.dyn_ref::<js_sys::Object>() else {
        return Err(ArgumentError::Type {
            name: "options",
            expected: "an object",
        });
    };
    for name in js_sys::Object::keys(options) {
        let name = name.as_string().unwrap_or_default();
        if !known.contains(&name.as_str()) {
            return Err(ArgumentError::UnknownOption {
                name: name.chars().take(MAX_SHOWN_NAME).collect(),
                known: known.join(", "),
            });
        }
    }
    Ok(())
}

/// Parses the options of `exportCsv()`: the character between two fields.
pub(crate) fn separator(options: &JsValue) -> Result<Separator, ArgumentError> {
    refuse_unknown(options, &["separator"])?;
    let wrong = ArgumentError::Type {
        name: "separator",
        expected: "\",\", \";\" or a tab",
    };
    match text(options, "separator")?.as_deref() {
        None | Some(",") => Ok(Separator::Comma),
        Some(";") => Ok(Separator::Semicolon),
        Some("\t") => Ok(Separator::Tab),
        Some(_) => Err(wrong),
    }
}

/// Parses the second argument of `HeartchainNode.start`: the signal that cancels the start.
pub(crate) fn abort_signal(
    control: &JsValue,
) -> Result<Option<web_sys::AbortSignal>, ArgumentError> {
    refuse_unknown(control, &["signal"])?;
    field(control, "signal")
        .map(|signal| {
            signal.dyn_into().map_err(|_| ArgumentError::Type {
                name: "signal",
                expected: "an AbortSignal",
            })
        })
        .transpose()
}

/// Whether the page was loaded over HTTPS and must therefore not open unencrypted connections.
fn page_scheme() -> PageScheme {
    let protocol = web_sys::window().and_then(|window| window.location().protocol().ok());
    if protocol.as_deref() == Some("https:") {
        PageScheme::Secure
    } else {
        PageScheme::Plain
    }
}

/// How far the page's own address reaches. Outside of a page nothing is known, so it counts as public.
fn page_scope() -> Scope {
    let host = web_sys::window().and_then(|window| window.location().hostname().ok());
    let scope = host.and_then(|host| Scope::of_host(&host));
    scope.unwrap_or(Scope::Public)
}

/// Whether a text is in Unicode's normalization form C. The browser decides, so that the wasm needs no Unicode tables.
pub(crate) fn is_nfc(text: &str) -> bool {
    js_sys::JsString::from(text).normalize("NFC") == *text
}

/// Parses the ID of a room: the hash of its genesis, in hex.
pub(crate) fn genesis(value: &JsValue) -> Result<RoomId, ArgumentError> {
    let text = value.as_string();
    let room = text.and_then(|text| text.parse().ok());
    room.ok_or(ArgumentError::Type {
        name: "genesis",
        expected: "64 hexadecimal digits",
    })
}

/// Parses the passphrase of a move file. It is brought into normalization form C, because keyboards differ.
pub(crate) fn passphrase(value: &JsValue) -> Result<String, ArgumentError> {
    let text = value.as_string().unwrap_or_default();
    if text.is_empty() || text.len() > MAX_PASSPHRASE_LEN {
        return Err(ArgumentError::Type {
            name: "passphrase",
            expected: "a string of 1 to 1024 bytes",
        });
    }
    Ok(js_sys::JsString::from(text).normalize("NFC").into())
}

/// Reads a file, if it is not longer than `limit`; `None` if it is.
pub(crate) async fn file(value: &JsValue, limit: usize) -> Result<Option<Vec<u8>>, ArgumentError> {
    let wrong = || ArgumentError::Type {
        name: "file",
        expected: "a Blob that can be read",
    };
    let blob: &web_sys::Blob = value.dyn_ref().ok_or_else(wrong)?;
    #[expect(clippy::cast_precision_loss, reason = "no file comes near 2^53 bytes")]
    if blob.size() > limit as f64 {
        return Ok(None);
    }
    let buffer = JsFuture::from(blob.array_buffer()).await;
    let buffer = buffer.map_err(|_| wrong())?;
    Ok(Some(js_sys::Uint8Array::new(&buffer).to_vec()))
}

/// Parses a height in the chain.
pub(crate) fn height(name: &'static str, value: &JsValue) -> Result<u64, ArgumentError> {
    whole(value).ok_or(ArgumentError::Type {
        name,
        expected: "a whole number, 0 or above",
    })
}

/// Parses the optional limit of items that a call returns.
pub(crate) fn limit(
    value: &JsValue,
    default: u64,
    max: u64,
    expected: &'static str,
) -> Result<usize, ArgumentError> {
    let limit = if value.is_undefined() || value.is_null() {
        Some(default)
    } else {
        whole(value).filter(|limit| *limit <= max)
    };
    limit
        .and_then(|limit| usize::try_from(limit).ok())
        .ok_or(ArgumentError::Type {
            name: "limit",
            expected,
        })
}

/// Parses the argument of `dryRun()`: `{ block }` or `{ reading }`. The hash and ids are dropped, because they are not
/// sent over the network either: a peer computes its own.
pub(crate) fn candidate(form: ReadingForm, value: &JsValue) -> Result<GossipItem, ApiError> {
    if let Some(given) = field(value, "block") {
        let claim = block(form, &given)?;
        let readings = claim.readings.iter().map(|claimed| claimed.reading);
        return Ok(GossipItem::Block(Box::new(Block {
            header: claim.header,
            readings: readings.collect(),
        })));
    }
    let given = field(value, "reading").ok_or(ArgumentError::Type {
        name: "the argument of dryRun()",
        expected: "{ block } or { reading }",
    })?;
    Ok(GossipItem::Reading(reading(form, &given)?.reading))
}

/// Parses a boolean argument; other values are not coerced.
pub(crate) fn boolean(name: &'static str, value: &JsValue) -> Result<bool, ArgumentError> {
    value.as_bool().ok_or(ArgumentError::Type {
        name,
        expected: "true or false",
    })
}

/// Parses the most hashes per second; `None` is unlimited.
pub(crate) fn mining_limit(value: &JsValue) -> Result<Option<u32>, ArgumentError> {
    if value.is_null() {
        return Ok(None);
    }
    let limit = whole(value).and_then(|number| u32::try_from(number).ok());
    limit
        .filter(|limit| (1..=MAX_MINING_LIMIT).contains(limit))
        .map(Some)
        .ok_or(ArgumentError::Type {
            name: "hashesPerSecond",
            expected: "null or a whole number from 1 to 1000000000",
        })
}

/// Parses the name that a person chose: trimmed, and in normalization form C.
pub(crate) fn profile_name(value: &JsValue) -> Result<ProfileName, ApiError> {
    let text = value.dyn_ref::<js_sys::JsString>();
    let text = text.filter(|text| text.is_valid_utf16());
    let text = text.ok_or(ArgumentError::Type {
        name: "name",
        expected: "a string of at most 40 bytes in UTF-8",
    })?;
    let normal = String::from(text.normalize("NFC"));
    Ok(ProfileName::new(normal.trim())?)
}

/// Parses a heart rate.
pub(crate) fn heart_rate(value: &JsValue) -> Result<Bpm, ArgumentError> {
    let bpm = whole(value)
        .and_then(|number| u16::try_from(number).ok())
        .and_then(|number| Bpm::new(number).ok());
    bpm.ok_or_else(|| {
        let number = value.dyn_ref::<js_sys::Number>();
        let found = number
            .and_then(|number| number.to_string(10).ok())
            .map_or_else(|| "what was given".to_owned(), String::from);
        ArgumentError::Bpm {
            found,
            min: Bpm::MIN.get(),
            max: Bpm::MAX.get(),
        }
    })
}

fn flag(options: &JsValue, name: &'static str) -> Result<Option<bool>, ArgumentError> {
    field(options, name)
        .map(|value| {
            value.as_bool().ok_or(ArgumentError::Type {
                name,
                expected: "true or false",
            })
        })
        .transpose()
}

fn text(options: &JsValue, name: &'static str) -> Result<Option<String>, ArgumentError> {
    field(options, name)
        .map(|value| {
            value.as_string().ok_or(ArgumentError::Type {
                name,
                expected: "a string",
            })
        })
        .transpose()
}

fn in_memory(options: &JsValue) -> Result<bool, ArgumentError> {
    let wrong = ArgumentError::Type {
        name: "storage",
        expected: "\"auto\" or \"memory\"",
    };
    match text(options, "storage")
        .map_err(|_| wrong.clone())?
        .as_deref()
    {
        None | Some("auto") => Ok(false),
        Some("memory") => Ok(true),
        Some(_) => Err(wrong),
    }
}

fn relays(options: &JsValue, scheme: PageScheme) -> Result<Vec<RelayAddress>, ApiError> {
    let parse = |address: &String| RelayAddress::parse(address, scheme);
    let relays: Result<_, _> = texts(options, "relays")?.iter().map(parse).collect();
    Ok(relays?)
}

fn peers(options: &JsValue, scheme: PageScheme) -> Result<Vec<NamedPeer>, ApiError> {
    let (name, max) = ("peers", MAX_NAMED_PEERS);
    let given = texts(options, name)?;
    if given.len() > max {
        return Err(ArgumentError::TooMany { name, max }.into());
    }
    let parse = |address: &String| NamedPeer::parse(address, scheme);
    let peers: Result<_, _> = given.iter().map(parse).collect();
    Ok(peers?)
}

/// Parses an optional list of strings; empty if it is missing.
fn texts(options: &JsValue, name: &'static str) -> Result<Vec<String>, ArgumentError> {
    let wrong = || ArgumentError::Type {
        name,
        expected: "an array of strings",
    };
    let Some(given) = field(options, name) else {
        return Ok(Vec::new());
    };
    if !js_sys::Array::is_array(&given) {
        return Err(wrong());
    }
    js_sys::Array::from(&given)
        .iter()
        .map(|text| text.as_string().ok_or_else(wrong))
        .collect()
}

/// Parses servers in the form of `RTCConfiguration.iceServers`. A server with several URLs counts once per URL.
fn ice_servers(options: &JsValue) -> Result<Option<Vec<IceServer>>, ApiError> {
    let wrong = ArgumentError::Type {
        name: "iceServers",
        expected: "an array of { urls, username?, credential? }",
    };
    let Some(given) = field(options, "iceServers") else {
        return Ok(None);
    };
    if !js_sys::Array::is_array(&given) {
        return Err(wrong.into());
    }
    let mut servers = Vec::new();
    for server in js_sys::Array::from(&given) {
        let urls = field(&server, "urls").ok_or_else(|| wrong.clone())?;
        let urls = if js_sys::Array::is_array(&urls) {
            js_sys::Array::from(&urls)
        } else {
            js_sys::Array::of1(&urls)
        };
        let credentials = text(&server, "username")?.zip(text(&server, "credential")?);
        for url in urls {
            let url = url.as_string().ok_or_else(|| wrong.clone())?;
            servers.push(IceServer::new(&url, credentials.clone())?);
        }
    }
    let (name, max) = ("iceServers", MAX_ICE_SERVERS);
    if servers.len() > max {
        return Err(ArgumentError::TooMany { name, max }.into());
    }
    Ok(Some(servers))
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn misspelt_option_is_refused() {
        let options = js_sys::JSON::parse(r#"{ "rooom": "a" }"#).expect("JSON");
        let refused = refuse_unknown(&options, &OPTION_NAMES).expect_err("there is no such option");
        let message = refused.to_string();
        assert!(
            message.contains("\"rooom\"") && message.contains("room, relays"),
            "{message}"
        );
        for text in [r#"{ "room": "a", "minerUrl": "b" }"#, "{}", "null"] {
            let options = js_sys::JSON::parse(text).expect("JSON");
            assert_eq!(refuse_unknown(&options, &OPTION_NAMES), Ok(()), "{text}");
        }
        assert_eq!(refuse_unknown(&JsValue::UNDEFINED, &OPTION_NAMES), Ok(()));
        assert!(refuse_unknown(&"lobby".into(), &OPTION_NAMES).is_err());
    }

    #[test]
    fn name_is_trimmed_and_normalized() {
        let name = |text: &str| profile_name(&text.into()).map(|name| name.to_string());
        for (given, kept) in [
            ("", ""),
            ("  ", ""),
            (" Ada\u{a0}", "Ada"),
            ("cafe\u{301}", "caf\u{e9}"),
            ("\u{c1}gnes \u{2665}", "\u{c1}gnes \u{2665}"),
        ] {
            assert_eq!(name(given).as_deref(), Ok(kept), "{given:?}");
        }
        assert_eq!(name(&"\u{e9}".repeat(20)), Ok("\u{e9}".repeat(20)));
        for given in ["a\u{0}b", "a\nb", "a\u{202e}b", "a\u{200b}"] {
            assert!(name(given).is_err(), "{given:?}");
        }
        let error = JsValue::from(name(&"x".repeat(41)).expect_err("too long"));
        let message = js_sys::Error::from(error).message();
        assert!(String::from(message).contains("41 bytes"));
        let lone = js_sys::JsString::from_char_code(&[0xd800]);
        for value in [JsValue::NULL, 7.into(), JsValue::UNDEFINED, lone.into()] {
            assert!(profile_name(&value).is_err(), "{value:?}");
        }
    }

    #[test]
    fn browser_normalizes_names_as_native_peers_do() {
        // Decomposed and precomposed letters and syllables, marks in either order, and signs that normalize to others.
        for name in [
            "room 7",
            "caf\u{e9}",
            "cafe\u{301}",
            "\u{212a}",
            "\u{2126}",
            "\u{d55c}\u{ae00}",
            "\u{1112}\u{1161}\u{11ab}",
            "q\u{307}\u{323}",
            "q\u{323}\u{307}",
            "\u{958}",
            "\u{fb01}",
            "\u{2665}",
            "\u{1f496}",
            "\u{1d15e}",
            "",
            " a",
            "\u{e9} ",
        ] {
            assert_eq!(
                RoomName::with_nfc_check(name, is_nfc),
                RoomName::new(name),
                "{name:?}"
            );
        }
    }
}
