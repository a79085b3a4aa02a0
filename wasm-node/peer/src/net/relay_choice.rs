//! Which relays of a deployment a room uses: the two that rank highest for it and work. All tabs of a room rank alike, so
//! they meet, although no relay talks to another. Specified in docs/protocols.md, "Several relays".

use heartchain_chain::{compact_sort, hash::RoomId};
use sha2::{Digest as _, Sha256};

/// Relays of one deployment; more are ignored.
pub const MAX_DEPLOYMENT: usize = 16;
/// How many relays a tab uses: if one fails, the room goes on at the other.
pub(crate) const USED_RELAYS: usize = 2;
/// The longest URL of a relay, in bytes. Domain names have up to 253.
const MAX_URL_LEN: usize = 512;
/// Makes the hashes of this format different from all others.
const DOMAIN: &[u8] = b"heartchain/hrw/2";

/// The relays of a document's list that a tab can use, without duplicates, highest rank first. `https_only` is whether
/// the browser blocks requests by http.
pub(crate) fn rank(room: RoomId, listed: &[String], https_only: bool) -> Vec<&str> {
    let mut ranked: Vec<([u8; 32], &str)> = Vec::new();
    for url in listed.iter().take(MAX_DEPLOYMENT).map(String::as_str) {
        if is_usable(url, https_only) && !ranked.iter().any(|(_, other)| *other == url) {
            ranked.push((score(room, url), url));
        }
    }
    compact_sort::sort_by(&mut ranked, |one, other| other.cmp(one));
    ranked.into_iter().map(|(_, url)| url).collect()
}

/// How many of the relays, highest rank first, a tab uses: so many that two of them work. Each is `Some(works)`, or `None`
/// if it is one that was counted already.
pub(crate) fn used(ranked: impl IntoIterator<Item = Option<bool>>) -> usize {
    let mut working = 0_usize;
    let mut used = 0_usize;
    for works in ranked {
        if working == USED_RELAYS {
            break;
        }
        working = working.saturating_add(usize::from(works == Some(true)));
        used = used.saturating_add(1);
    }
    used
}

fn score(room: RoomId, url: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update(DOMAIN)
        .chain_update(room.as_bytes())
        .chain_update(url.as_bytes())
        .finalize()
        .into()
}

/// Whether a tab can request a document below this URL. Whether there is one shows when it is requested.
fn is_usable(url: &str, https_only: bool) -> bool {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://").filter(|_| !https_only));
    rest.is_some_and(|rest| rest.len() > 1 && !rest.starts_with('/'))
        && url.len() <= MAX_URL_LEN
        && url.ends_with('/')
        && url
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"?#@\\".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "https://a.example/";
    const B: &str = "https://b.example/hearts/";
    const C: &str = "https://c.example:8443/";

    fn room(byte: u8) -> RoomId {
        RoomId::new([byte; 32])
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    /// The vectors of docs/protocols.md.
    #[test]
    fn rooms_rank_relays_by_the_documented_hash() {
        for (byte, ranked) in [
            (0, [A, B, C]),
            (2, [B, A, C]),
            (5, [B, C, A]),
            (6, [C, B, A]),
        ] {
            for listed in [[A, B, C], [C, B, A], [B, C, A]] {
                assert_eq!(rank(room(byte), &texts(&listed), true), ranked, "{byte}");
            }
        }
        let score: Vec<String> = score(room(0), A)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(
            score.concat(),
            "ac77f33c6cea9d3309f3644f672c18995cfcd84bd14b0adef1090aceafd737e4"
        );
    }

    #[test]
    fn rooms_are_spread_over_all_relays() {
        let listed: Vec<String> = (0..6).map(|n| format!("https://r{n}.example/")).collect();
        let mut rooms = [0; 6];
        for byte in 0..=255 {
            for url in rank(room(byte), &listed, true)
                .into_iter()
                .take(USED_RELAYS)
            {
                let at = listed.iter().position(|other| other == url);
                rooms[at.expect("a listed relay")] += 1;
            }
        }
        // 85 on average; the standard deviation is 8.
        assert!(
            rooms.iter().all(|rooms| (55..115).contains(rooms)),
            "{rooms:?}"
        );
    }

    /// While an operator adds a relay, tabs with the old and with the new list still share one.
    #[test]
    fn one_more_relay_leaves_one_in_common() {
        let listed: Vec<String> = (0..5).map(|n| format!("https://r{n}.example/")).collect();
        for byte in 0..=255 {
            let new = rank(room(byte), &listed, true);
            let old = rank(room(byte), &listed[..4], true);
            let shared = old[..USED_RELAYS]
                .iter()
                .filter(|url| new[..USED_RELAYS].contains(url));
            assert!(shared.count() >= 1, "{byte}");
        }
    }

    #[test]
    fn unusable_urls_are_skipped() {
        let long = format!("https://a.example/{}/", "x".repeat(MAX_URL_LEN));
        let listed = texts(&[
            "",
            "https://",
            "https:///",
            "a.example",
            "https://a.example",
            "ftp://a.example/",
            "https://a@b.example/",
            "https://a.example/?/",
            "https://a.example/#/",
            "https://a .example/",
            "http://b.example/",
            &long,
            A,
            A,
        ]);
        assert_eq!(rank(room(0), &listed[..11], true), Vec::<&str>::new());
        assert_eq!(rank(room(0), &listed[..11], false), ["http://b.example/"]);
        assert_eq!(rank(room(0), &listed[11..], true), [A]);
    }

    #[test]
    fn list_is_cut_at_its_bound() {
        let listed: Vec<String> = (0..=MAX_DEPLOYMENT)
            .map(|n| format!("https://r{n}.example/"))
            .collect();
        let ranked = rank(room(0), &listed, true);
        assert_eq!(ranked.len(), MAX_DEPLOYMENT);
        assert!(!ranked.contains(&"https://r16.example/"));
    }

    #[test]
    fn relays_that_fail_are_replaced() {
        let (works, fails) = (Some(true), Some(false));
        assert_eq!(used([]), 0);
        assert_eq!(used([fails]), 1);
        assert_eq!(used([works, works, works]), 2);
        assert_eq!(used([fails, works, works, works]), 3);
        assert_eq!(used([works, fails, works, works]), 3);
        assert_eq!(used([fails, fails, fails]), 3);
        // The second is the first under another name.
        assert_eq!(used([works, None, works, works]), 3);
    }
}
