use libp2p::{Multiaddr, identity::Keypair};
use rendezvous_messages::{DiscoverResponse, MAX_REQUEST_LEN, Unregister};

use super::*;

const ROOM: &str = "room";
const TTL: Duration = Duration::from_secs(60);

struct Client {
    key: Keypair,
    server: Rendezvous,
    now: Instant,
}

impl Client {
    fn new() -> Self {
        Self {
            key: Keypair::generate_ed25519(),
            server: Rendezvous::new(&Limits::default(), &Arc::new(Metrics::new())),
            now: Instant::now(),
        }
    }

    fn peer(&self) -> PeerId {
        self.key.public().to_peer_id()
    }

    /// A signed peer record with this number of addresses.
    fn record(&self, addresses: usize) -> Vec<u8> {
        let address: Multiaddr = "/ip4/192.0.2.1/tcp/1/ws".parse().expect("an address");
        PeerRecord::new(&self.key, vec![address; addresses])
            .expect("signs")
            .into_signed_envelope()
            .into_protobuf_encoding()
    }

    fn send(&mut self, kind: Kind, fill: impl FnOnce(&mut Message)) -> Option<Message> {
        let mut request = Message {
            r#type: Some(kind.into()),
            ..Message::default()
        };
        fill(&mut request);
        self.server
            .handle_request((self.peer(), None), request, self.now)
            .expect("within the rate limit")
    }

    fn register(&mut self, namespace: &str, record: Vec<u8>, ttl: Option<u64>) -> Status {
        let response = self.send(Kind::Register, |request| {
            request.register = Some(Register {
                namespace: Some(namespace.to_owned()),
                signed_peer_record: Some(record),
                ttl,
            });
        });
        let response = response.and_then(|response| response.register_response);
        response.expect("a response").status()
    }

    fn discover(&mut self, namespace: Option<&str>, cookie: Option<Vec<u8>>) -> DiscoverResponse {
        let response = self.send(Kind::Discover, |request| {
            request.discover = Some(Discover {
                namespace: namespace.map(str::to_owned),
                limit: None,
                cookie,
            });
        });
        let response = response.and_then(|response| response.discover_response);
        response.expect("a response")
    }
}

#[test]
fn peer_is_listed_until_it_unregisters_or_leaves() {
    let mut client = Client::new();
    let record = client.record(2);
    let ttl = Some(TTL.as_secs());
    assert_eq!(client.register(ROOM, record.clone(), ttl), Status::Ok);
    let listed = Register {
        namespace: Some(ROOM.to_owned()),
        signed_peer_record: Some(record.clone()),
        ttl,
    };
    assert_eq!(client.discover(Some(ROOM), None).registrations, [listed]);

    let unregister = client.send(Kind::Unregister, |request| {
        let namespace = Some(ROOM.to_owned());
        request.unregister = Some(Unregister { namespace });
    });
    assert_eq!(unregister, None);
    assert_eq!(client.discover(Some(ROOM), None).registrations, []);

    assert_eq!(client.register(ROOM, record, ttl), Status::Ok);
    let peer = client.peer();
    client.server.on_disconnected(&peer);
    assert_eq!(client.discover(Some(ROOM), None).registrations, []);
}

#[test]
fn records_must_be_short_and_signed_by_the_sender() {
    let mut client = Client::new();
    let ttl = Some(TTL.as_secs());
    let mut forged = client.record(1);
    if let Some(last) = forged.last_mut() {
        *last ^= 1;
    }
    let of_another_peer = Client::new().record(1);
    let max = Limits::default().registration_bytes;
    let addresses = (1..)
        .find(|n| client.record(*n).len() > max)
        .expect("grows");
    for (record, status) in [
        (forged, Status::InvalidSignedPeerRecord),
        (Vec::new(), Status::InvalidSignedPeerRecord),
        (of_another_peer, Status::NotAuthorized),
        (client.record(addresses), Status::InvalidSignedPeerRecord),
        (client.record(addresses - 1), Status::Ok),
    ] {
        assert_eq!(client.register(ROOM, record, ttl), status);
    }
}

#[test]
fn records_with_the_domain_of_the_spec_are_accepted() {
    let mut client = Client::new();
    let record = PeerRecord::new_interop(&client.key, Vec::new())
        .expect("signs")
        .into_signed_envelope()
        .into_protobuf_encoding();
    let ttl = Some(TTL.as_secs());
    assert_eq!(client.register(ROOM, record, ttl), Status::Ok);
}

#[test]
fn largest_valid_request_fits_the_read_limit() {
    let limits = Limits::default();
    assert!(MAX_REQUEST_LEN > limits.registration_bytes + MAX_NAMESPACE_LEN + 64);
}

#[test]
fn ttls_are_kept_within_the_limits() {
    let mut client = Client::new();
    let limits = Limits::default();
    let (min, max) = (limits.registration_min_ttl, limits.registration_max_ttl);
    for (ttl, status) in [
        (Some(min.as_secs() - 1), Status::InvalidTtl),
        (Some(min.as_secs()), Status::Ok),
        (Some(max.as_secs()), Status::Ok),
        (Some(max.as_secs() + 1), Status::Ok),
        (Some(u64::MAX), Status::Ok),
        (None, Status::Ok),
    ] {
        let record = client.record(1);
        assert_eq!(client.register(ROOM, record, ttl), status, "{ttl:?}");
        let registered = client.discover(Some(ROOM), None).registrations;
        let left = registered.first().and_then(|registered| registered.ttl);
        assert!(left <= Some(max.as_secs()), "{left:?} s of {ttl:?}");
    }
}

#[test]
fn missing_and_too_long_namespaces_are_rejected() {
    let mut client = Client::new();
    let longest = "n".repeat(MAX_NAMESPACE_LEN);
    let too_long = "n".repeat(MAX_NAMESPACE_LEN + 1);
    for (name, status) in [
        (longest.as_str(), Status::Ok),
        (&too_long, Status::InvalidNamespace),
        ("", Status::InvalidNamespace),
    ] {
        let record = client.record(1);
        let ttl = Some(TTL.as_secs());
        assert_eq!(client.register(name, record, ttl), status);
        assert_eq!(client.discover(Some(name), None).status(), status);
    }
    let all = client.discover(None, None);
    assert_eq!(all.status(), Status::InvalidNamespace);
    assert_eq!(all.registrations, []);
}

#[test]
fn cookies_are_valid_in_their_room_only() {
    let mut client = Client::new();
    let cookie = client.discover(Some(ROOM), None).cookie;
    let again = client.discover(Some(ROOM), cookie.clone());
    assert_eq!(again.status(), Status::Ok);
    let elsewhere = client.discover(Some("elsewhere"), cookie);
    assert_eq!(elsewhere.status(), Status::InvalidCookie);
}

#[test]
fn only_requests_get_a_response() {
    let mut client = Client::new();
    for kind in [Kind::RegisterResponse, Kind::DiscoverResponse] {
        assert_eq!(client.send(kind, |_| ()), None);
    }
    let unknown = client.send(Kind::Register, |request| request.r#type = Some(5));
    assert_eq!(unknown, None);
    assert_eq!(client.send(Kind::Unregister, |_| ()), None);
    let empty = client.send(Kind::Register, |request| request.r#type = None);
    let response = empty.and_then(|response| response.register_response);
    assert_eq!(
        response.map(|response| response.status()),
        Some(Status::InvalidNamespace)
    );
}
