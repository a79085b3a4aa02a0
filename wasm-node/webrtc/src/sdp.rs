//! Builds the session descriptions for `/webrtc-direct`, where client and server never exchange any: the offer gets ICE
//! credentials that the server can read from the first packet, and the answer is built from the server's address. See
//! the [spec of WebRTC-direct](https://github.com/libp2p/specs/blob/master/webrtc/webrtc-direct.md). Pure text.

use std::net::IpAddr;

use libp2p_webrtc_utils::Fingerprint;

use crate::address::{DirectAddress, Host};

/// What the server's user name begins with if the offer is left as the browser wrote it; the client's password follows.
/// See [version 2 of the spec](https://github.com/libp2p/specs/pull/715).
const PREFIX_V2: &str = "libp2p+webrtc+v2/";

/// Returns the offer with `ufrag` as ICE user name and password.
pub(crate) fn with_credentials(offer: &str, ufrag: &str) -> String {
    offer
        .lines()
        .map(|line| {
            if line.starts_with("a=ice-ufrag:") {
                format!("a=ice-ufrag:{ufrag}\r\n")
            } else if line.starts_with("a=ice-pwd:") {
                format!("a=ice-pwd:{ufrag}\r\n")
            } else {
                format!("{line}\r\n")
            }
        })
        .collect()
}

/// The user name and password of the server in version 2, where the client keeps the credentials of its own description.
pub(crate) fn server_ufrag(description: &str) -> Option<String> {
    let password = description
        .lines()
        .find_map(|line| line.strip_prefix("a=ice-pwd:"))?;
    Some(format!("{PREFIX_V2}{}", password.trim_end()))
}

/// Builds the answer that the server would give: an ICE-lite agent with one host candidate, which waits for DTLS.
pub(crate) fn answer(server: &DirectAddress, ufrag: &str) -> String {
    let (version, connection, candidate) = match &server.host {
        Host::Ip(IpAddr::V4(ip)) => ("IP4", ip.to_string(), ip.to_string()),
        Host::Ip(IpAddr::V6(ip)) => ("IP6", ip.to_string(), ip.to_string()),
        Host::Name(name) => ("IP4", "0.0.0.0".to_owned(), name.clone()),
    };
    let port = server.port;
    let algorithm = server.fingerprint.algorithm();
    let fingerprint = server.fingerprint.to_sdp_format();
    [
        "v=0".to_owned(),
        format!("o=- 0 0 IN {version} {connection}"),
        "s=-".to_owned(),
        "t=0 0".to_owned(),
        "a=ice-lite".to_owned(),
        format!("m=application {port} UDP/DTLS/SCTP webrtc-datachannel"),
        format!("c=IN {version} {connection}"),
        "a=mid:0".to_owned(),
        "a=ice-options:ice2".to_owned(),
        format!("a=ice-ufrag:{ufrag}"),
        format!("a=ice-pwd:{ufrag}"),
        format!("a=fingerprint:{algorithm} {fingerprint}"),
        "a=setup:passive".to_owned(),
        "a=sctp-port:5000".to_owned(),
        "a=max-message-size:16384".to_owned(),
        format!("a=candidate:1 1 UDP 2130706431 {candidate} {port} typ host"),
        "a=end-of-candidates".to_owned(),
        String::new(),
    ]
    .join("\r\n")
}

/// Returns the SHA-256 certificate fingerprint of a description, if it has one.
pub(crate) fn fingerprint(description: &str) -> Option<Fingerprint> {
    let hex = description
        .lines()
        .find_map(|line| line.strip_prefix("a=fingerprint:sha-256 "))?;
    let mut digest = [0; 32];
    let mut octets = hex.trim_end().split(':');
    for byte in &mut digest {
        let octet = octets.next()?;
        let is_hex = octet.len() == 2 && octet.bytes().all(|digit| digit.is_ascii_hexdigit());
        *byte = u8::from_str_radix(octet, 16).ok().filter(|_| is_hex)?;
    }
    octets.next().is_none().then(|| Fingerprint::raw(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\na=ice-ufrag:abcd\r\na=ice-pwd:secret\r\na=ice-options:trickle\r\n";

    fn server(host: Host) -> DirectAddress {
        DirectAddress {
            host,
            port: 4001,
            fingerprint: Fingerprint::raw([0xAB; 32]),
            peer: None,
        }
    }

    #[test]
    fn only_credentials_of_the_offer_change() {
        assert_eq!(
            with_credentials(OFFER, "libp2p+webrtc+v1/x"),
            "v=0\r\na=ice-ufrag:libp2p+webrtc+v1/x\r\na=ice-pwd:libp2p+webrtc+v1/x\r\na=ice-options:trickle\r\n"
        );
    }

    #[test]
    fn server_is_named_after_the_own_password() {
        let server = server_ufrag(OFFER).expect("a password");
        assert_eq!(server, "libp2p+webrtc+v2/secret");
        assert_eq!(server_ufrag("v=0\r\n"), None);
    }

    #[test]
    fn answer_contains_address_and_fingerprint() {
        let answer = answer(
            &server(Host::Ip([192, 0, 2, 7].into())),
            "libp2p+webrtc+v1/x",
        );
        for line in [
            "m=application 4001 UDP/DTLS/SCTP webrtc-datachannel",
            "c=IN IP4 192.0.2.7",
            "a=ice-ufrag:libp2p+webrtc+v1/x",
            "a=ice-pwd:libp2p+webrtc+v1/x",
            "a=candidate:1 1 UDP 2130706431 192.0.2.7 4001 typ host",
        ] {
            assert!(
                answer.lines().any(|found| found == line),
                "{line} is missing in\n{answer}"
            );
        }
        assert_eq!(fingerprint(&answer), Some(Fingerprint::raw([0xAB; 32])));
        assert!(answer.ends_with("\r\n"));
    }

    #[test]
    fn host_names_and_ipv6_become_candidates() {
        let named = answer(&server(Host::Name("relay.example".to_owned())), "x");
        assert!(named.contains("relay.example 4001 typ host"));
        let ip6 = answer(&server(Host::Ip("::1".parse().expect("valid IP"))), "x");
        assert!(ip6.contains("c=IN IP6 ::1\r\n"));
    }

    #[test]
    fn incomplete_fingerprint_is_refused() {
        let good = format!(
            "a=fingerprint:sha-256 {}\r\n",
            Fingerprint::raw([7; 32]).to_sdp_format()
        );
        assert_eq!(fingerprint(&good), Some(Fingerprint::raw([7; 32])));
        assert_eq!(fingerprint(&good.replace("sha-256", "sha-1")), None);
        assert_eq!(fingerprint("a=fingerprint:sha-256 AB:CD\r\n"), None);
        assert_eq!(fingerprint(&good.replace("\r\n", ":07\r\n")), None);
        assert_eq!(fingerprint(&good.replacen("07", "+7", 1)), None);
        assert_eq!(fingerprint("v=0\r\n"), None);
    }
}
